// The names of NVIDIA's library that libtorch's headers speak of; the compile gate links nothing.
#pragma once
typedef struct cublasContext* cublasHandle_t;
typedef enum { CUBLAS_STATUS_SUCCESS = 0 } cublasStatus_t;
