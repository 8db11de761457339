# The C++ code of the Cap'n Proto schemas, a library each: generated into the build directory, warnings off.
set(CAPNPC_SRC_PREFIX ${CMAKE_SOURCE_DIR})
set(CAPNPC_OUTPUT_DIR ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${CAPNPC_OUTPUT_DIR})

function(troupe_schema name file)
  capnp_generate_cpp(sources headers ${CMAKE_SOURCE_DIR}/${file})
  add_library(${name} STATIC ${sources} ${headers})
  target_compile_options(${name} PRIVATE -w)
  target_include_directories(${name} SYSTEM PUBLIC ${CAPNPC_OUTPUT_DIR})
  target_link_libraries(${name} PUBLIC CapnProto::capnp)
endfunction()

troupe_schema(plan_schema runtime/plan/plan.capnp)
troupe_schema(wire_schema runtime/comm/wire.capnp)
