// The names of NVIDIA's library that libtorch's headers speak of; the compile gate links nothing.
#pragma once
typedef struct cublasLtContext* cublasLtHandle_t;
