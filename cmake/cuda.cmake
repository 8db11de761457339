# The backend of CUDA devices: a library of its own, built where there is an nvcc that can. Nothing else needs CUDA.
if(TROUPE_CUDA AND NOT TROUPE_CORE_ONLY)
  find_program(TROUPE_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(TROUPE_NVCC)
    # An old one, or one that does not take this host compiler, must not keep anybody from building the rest.
    execute_process(COMMAND ${TROUPE_NVCC} -std=c++20 -arch=sm_${TROUPE_CUDA_ARCH} -ccbin ${CMAKE_CXX_COMPILER}
                            -x cu -c ${CMAKE_SOURCE_DIR}/cmake/cuda_probe.in -o ${CMAKE_BINARY_DIR}/cuda_probe.o
                    RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_VARIABLE said)
    set(why "${TROUPE_NVCC} cannot compile cmake/cuda_probe.in for sm_${TROUPE_CUDA_ARCH} (CUDA 12.1 or newer can, for sm_80 or newer): ${said}")
  else()
    set(failed TRUE)
    set(why "there is no nvcc on the PATH or in /usr/local/cuda/bin")
  endif()
  if(NOT failed)
    add_subdirectory(ops/cuda)
    message(STATUS "CUDA devices: with ${TROUPE_NVCC}, for sm_${TROUPE_CUDA_ARCH}")
  elseif(TROUPE_CUDA STREQUAL "AUTO")
    message(STATUS "CUDA devices: no, ${why}")
  else()
    message(FATAL_ERROR "TROUPE_CUDA is ${TROUPE_CUDA}, but ${why}")
  endif()
endif()

if(TROUPE_TESTS)
  # Libraries for the tests of loading one; the first is also what tests of the Python package run on.
  function(troupe_plugin name version)
    add_library(${name} MODULE ops/cuda/plugin.cpp)
    target_compile_definitions(${name} PRIVATE TROUPE_VERSION="${version}")
    target_link_libraries(${name} PRIVATE tests_cublas ops_cuda_simulated -Wl,--exclude-libs,ALL)
  endfunction()
  troupe_plugin(troupe_cuda_simulated ${PROJECT_VERSION})
  target_sources(troupe_cuda_simulated PRIVATE tests/cuda/simulated_devices.cpp)
  troupe_plugin(other_version_plugin 0.0.0-other)
  add_library(no_plugin MODULE runtime/base/error.cpp)
  target_compile_definitions(
    runtime_device_test PRIVATE TROUPE_SIMULATED_PLUGIN="$<TARGET_FILE:troupe_cuda_simulated>"
                                TROUPE_OTHER_VERSION_PLUGIN="$<TARGET_FILE:other_version_plugin>"
                                TROUPE_NO_PLUGIN="$<TARGET_FILE:no_plugin>"
                                TROUPE_CUDA_PLUGIN="$<$<TARGET_EXISTS:troupe_cuda>:$<TARGET_FILE:troupe_cuda>>")
  add_dependencies(runtime_device_test troupe_cuda_simulated other_version_plugin no_plugin)
  if(TARGET troupe_cuda)
    add_dependencies(runtime_device_test troupe_cuda)
  endif()
endif()
