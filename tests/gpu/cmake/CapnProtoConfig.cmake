# Stands in for Cap'n Proto's CMake package in what pack.sh gathers: its two libraries, and in place of its compiler the C++
# code of the schemas, made by pack.sh.
get_filename_component(packages "${CMAKE_CURRENT_LIST_DIR}/../../../.." ABSOLUTE)
get_filename_component(lib "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
set(TROUPE_SCHEMAS "${packages}/schemas")

foreach(library kj capnp)
  file(GLOB found "${lib}/lib${library}-*.so")
  add_library(CapnProto::${library} UNKNOWN IMPORTED)
  set_target_properties(CapnProto::${library} PROPERTIES IMPORTED_LOCATION "${found}")
endforeach()
set_target_properties(CapnProto::capnp PROPERTIES INTERFACE_LINK_LIBRARIES CapnProto::kj)

function(capnp_generate_cpp sources headers file)
  file(RELATIVE_PATH name "${CAPNPC_SRC_PREFIX}" "${file}")
  foreach(suffix c++ h)
    configure_file("${TROUPE_SCHEMAS}/${name}.${suffix}" "${CAPNPC_OUTPUT_DIR}/${name}.${suffix}" COPYONLY)
  endforeach()
  set(${sources} "${CAPNPC_OUTPUT_DIR}/${name}.c++" PARENT_SCOPE)
  set(${headers} "${CAPNPC_OUTPUT_DIR}/${name}.h" PARENT_SCOPE)
endfunction()
