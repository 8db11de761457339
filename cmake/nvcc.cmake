# CUDA as a language of this folder, with nvcc. Included by folders, because elsewhere the same sources are compiled as C++.
set(CMAKE_CUDA_COMPILER ${TROUPE_NVCC})
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
set(CMAKE_CUDA_ARCHITECTURES ${TROUPE_CUDA_ARCH})
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
# CMake 3.25 does not know how nvcc is told of C++20, and nvcc not the project's warnings.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
# Constexpr functions of the host (runtime/base/random.h) may be called on the device.
set_property(DIRECTORY PROPERTY COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow>"
                                                "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>")
