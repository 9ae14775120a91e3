# What `cmake --install` puts in place: the program, one static library of all layers, the public headers, and a package
# for find_package(graft).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
include(${CMAKE_CURRENT_LIST_DIR}/graftDependencies.cmake)

get_property(layers GLOBAL PROPERTY GRAFT_LAYER_TARGETS)
get_property(libs GLOBAL PROPERTY GRAFT_LIBS)
list(REMOVE_DUPLICATES libs)
# By name, not by the path on this machine.
list(TRANSFORM libs REPLACE "^/.*/lib([^/]+)[.](so|a)$" "\\1")

add_library(graft_library STATIC)
set_target_properties(graft_library PROPERTIES OUTPUT_NAME graft EXPORT_NAME graft LINKER_LANGUAGE CXX)
foreach(layer ${layers})
  target_sources(graft_library PRIVATE $<TARGET_OBJECTS:${layer}>)
endforeach()
# Private: a program that uses graft links these, but needs none of their headers.
target_link_libraries(graft_library PRIVATE ${libs})
target_include_directories(graft_library INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                   $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(graft_library INTERFACE cxx_std_20)
add_library(graft::graft ALIAS graft_library)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/graft)
install(TARGETS graft_library EXPORT graftTargets)
install(TARGETS graft_cli)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/graft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(EXPORT graftTargets NAMESPACE graft:: DESTINATION ${package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/graftConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/graftConfig.cmake ${PROJECT_SOURCE_DIR}/cmake/graftDependencies.cmake
              ${PROJECT_BINARY_DIR}/graftConfigVersion.cmake
        DESTINATION ${package_dir})
