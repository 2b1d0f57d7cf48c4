# Headers of Node-API and node-addon-api, as one imported interface target: cots::node_api.
#
# cmake-js passes CMAKE_JS_INC. A machine without npm passes -DCOTS_NODE_API_INCLUDE="A;B": the folder of
# node_api.h (Node's own include/node will do) and the folder of napi.h.

set(COTS_NODE_API_INCLUDE "" CACHE STRING "Folders of node_api.h and napi.h, when cmake-js does not give them")
set(node_api_include ${COTS_NODE_API_INCLUDE} ${CMAKE_JS_INC})
if(NOT node_api_include)
  set(node_api_include
    "${CMAKE_SOURCE_DIR}/node_modules/node-api-headers/include" "${CMAKE_SOURCE_DIR}/node_modules/node-addon-api")
endif()
find_path(cots_napi_h napi.h PATHS ${node_api_include} NO_DEFAULT_PATH NO_CACHE)
find_path(cots_node_api_h node_api.h PATHS ${node_api_include} NO_DEFAULT_PATH NO_CACHE)
if(NOT cots_napi_h OR NOT cots_node_api_h)
  message(FATAL_ERROR
    "node_api.h or napi.h is not in '${node_api_include}'. Run 'node scripts/setup.mjs', or pass "
    "-DCOTS_NODE_API_INCLUDE=\"FOLDER_OF_node_api.h;FOLDER_OF_napi.h\".")
endif()

add_library(cots_node_api INTERFACE)
add_library(cots::node_api ALIAS cots_node_api)
target_include_directories(cots_node_api SYSTEM INTERFACE ${cots_node_api_h} ${cots_napi_h})
target_compile_definitions(cots_node_api INTERFACE
  NAPI_VERSION=9 NODE_ADDON_API_CPP_EXCEPTIONS NODE_ADDON_API_CPP_EXCEPTIONS_ALL
  NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS   # a worker that is being terminated takes no exception any more: let it go quietly
  BUILDING_NODE_EXTENSION)
