# find_package(graft): then target_link_libraries(app graft::graft).
include(${CMAKE_CURRENT_LIST_DIR}/graftDependencies.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/graftTargets.cmake)
