# The libtorch that set-up found, as one imported interface target: cots::libtorch.
#
# Why not find_package(Torch): its config file wants a full CUDA toolkit as soon as libtorch is a CUDA
# build, looks for MKL, protobuf and kineto, and adds compile flags of its own. The libraries and two
# include folders below are all that it would give us.

set(COTS_LIBTORCH "" CACHE PATH "Folder of libtorch: it holds include/ and lib/libtorch.so")
if(NOT COTS_LIBTORCH AND DEFINED ENV{COTS_LIBTORCH})
  set(COTS_LIBTORCH "$ENV{COTS_LIBTORCH}")
endif()
if(NOT EXISTS "${COTS_LIBTORCH}/lib/libtorch_cpu.so" OR NOT EXISTS "${COTS_LIBTORCH}/include/ATen/ATen.h")
  message(FATAL_ERROR
    "No libtorch at COTS_LIBTORCH='${COTS_LIBTORCH}'. Run 'node scripts/setup.mjs', which finds or brings "
    "one, or pass -DCOTS_LIBTORCH=FOLDER (the folder with include/ and lib/).")
endif()
get_filename_component(COTS_LIBTORCH "${COTS_LIBTORCH}" REALPATH)

set(COTS_LIBTORCH_CUDA OFF)
if(EXISTS "${COTS_LIBTORCH}/lib/libtorch_cuda.so")
  set(COTS_LIBTORCH_CUDA ON)
endif()

# libtorch registers its operators in static initializers, so the linker must keep libraries from which
# it sees no symbol used.
set(libtorch_libraries "${COTS_LIBTORCH}/lib/libtorch.so" "${COTS_LIBTORCH}/lib/libtorch_cpu.so")
if(COTS_LIBTORCH_CUDA)
  list(APPEND libtorch_libraries "${COTS_LIBTORCH}/lib/libtorch_cuda.so" "${COTS_LIBTORCH}/lib/libc10_cuda.so")
endif()

add_library(cots_libtorch INTERFACE)
add_library(cots::libtorch ALIAS cots_libtorch)
target_include_directories(cots_libtorch SYSTEM INTERFACE
  "${COTS_LIBTORCH}/include" "${COTS_LIBTORCH}/include/torch/csrc/api/include")
target_compile_definitions(cots_libtorch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
# The wheel has Gloo but not its headers: native/third_party/gloo_stub/README.md.
target_include_directories(cots_libtorch SYSTEM INTERFACE "${CMAKE_SOURCE_DIR}/native/third_party/gloo_stub")
target_link_libraries(cots_libtorch INTERFACE
  -Wl,--no-as-needed ${libtorch_libraries} -Wl,--as-needed "${COTS_LIBTORCH}/lib/libc10.so")

# at::parallel_for is a template of ours to compile: without -fopenmp it is silently serial. At link time
# the runtime is libtorch's own file, so that the process never holds two OpenMP runtimes.
target_compile_options(cots_libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
file(GLOB libtorch_gomp "${COTS_LIBTORCH}/lib/libgomp*.so*" "${COTS_LIBTORCH}.libs/libgomp*.so*")
if(libtorch_gomp)
  list(GET libtorch_gomp 0 libtorch_gomp)
  target_link_libraries(cots_libtorch INTERFACE "${libtorch_gomp}")
else()
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_link_libraries(cots_libtorch INTERFACE OpenMP::OpenMP_CXX)
endif()

# The addon loads with no library path set: the absolute folder, and a relative one when libtorch lies
# inside the project, so that both may move together.
set(COTS_RPATH "${COTS_LIBTORCH}/lib")
string(FIND "${COTS_LIBTORCH}/" "${CMAKE_SOURCE_DIR}/" inside_project)
if(inside_project EQUAL 0)
  file(RELATIVE_PATH libtorch_relative "${CMAKE_BINARY_DIR}/Release" "${COTS_LIBTORCH}/lib")
  list(APPEND COTS_RPATH "$ORIGIN/${libtorch_relative}")
endif()
