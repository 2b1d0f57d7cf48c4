# libjpeg-turbo of the system, if it is there: COTS_JPEG_LIBRARY and COTS_JPEG_INCLUDE, else empty. Without it every image
# goes through sharp. Plain libjpeg will not do: it cannot leave out rows and columns.
option(COTS_JPEG "Use the system's libjpeg-turbo for training images" ON)
set(COTS_HAS_JPEG OFF)
if(COTS_JPEG)
  find_package(JPEG QUIET)
  if(JPEG_FOUND)
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_INCLUDES ${JPEG_INCLUDE_DIRS})
    set(CMAKE_REQUIRED_LIBRARIES ${JPEG_LIBRARIES})
    check_cxx_source_compiles("
      #include <cstddef>
      #include <cstdio>
      #include <jpeglib.h>
      #if LIBJPEG_TURBO_VERSION_NUMBER < 2001000
      #error too old
      #endif
      int main() { return jpeg_skip_scanlines(nullptr, 0) + (jpeg_crop_scanline == nullptr); }" COTS_JPEG_IS_TURBO)
    unset(CMAKE_REQUIRED_INCLUDES)
    unset(CMAKE_REQUIRED_LIBRARIES)
    if(COTS_JPEG_IS_TURBO)
      set(COTS_HAS_JPEG ON)
    endif()
  endif()
endif()
if(NOT COTS_HAS_JPEG)
  message(STATUS "cots: no libjpeg-turbo 2.1 or newer with headers: JPEGs are decoded by sharp alone")
endif()
