// The names of NVIDIA's library that libtorch's headers speak of; the compile gate links nothing.
#pragma once
#include "cusolver_common.h"
typedef struct cusolverDnContext* cusolverDnHandle_t;
