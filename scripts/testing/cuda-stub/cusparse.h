// The names of NVIDIA's library that libtorch's headers speak of; the compile gate links nothing.
#pragma once
typedef struct cusparseContext* cusparseHandle_t;
typedef enum { CUSPARSE_STATUS_SUCCESS = 0 } cusparseStatus_t;
