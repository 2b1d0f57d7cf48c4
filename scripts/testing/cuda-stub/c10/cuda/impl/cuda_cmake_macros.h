// A CPU libtorch has c10's CUDA headers but not this generated one, which the compile gate needs.
#define C10_CUDA_BUILD_SHARED_LIBS
