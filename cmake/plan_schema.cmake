# The C++ code of the plan's schema, as a library of its own: generated into the build directory, warnings off.
set(CAPNPC_SRC_PREFIX ${CMAKE_SOURCE_DIR})
set(CAPNPC_OUTPUT_DIR ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${CAPNPC_OUTPUT_DIR})
capnp_generate_cpp(PLAN_SCHEMA_SOURCES PLAN_SCHEMA_HEADERS ${CMAKE_SOURCE_DIR}/runtime/plan/plan.capnp)
add_library(plan_schema STATIC ${PLAN_SCHEMA_SOURCES} ${PLAN_SCHEMA_HEADERS})
target_compile_options(plan_schema PRIVATE -w)
target_include_directories(plan_schema SYSTEM PUBLIC ${CAPNPC_OUTPUT_DIR})
target_link_libraries(plan_schema PUBLIC CapnProto::capnp)
