# What `cmake --install` puts in place: the program, one static and one shared library of all layers, the public headers, a
# package for find_package(graft) and graft.pc for pkg-config.
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

# The same objects as a shared library. It exports what is marked GRAFT_API; a program that links it needs no other package.
add_library(graft_shared SHARED)
set_target_properties(graft_shared PROPERTIES
  OUTPUT_NAME graft EXPORT_NAME shared LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} LINK_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/graft.map)
foreach(layer ${layers})
  target_sources(graft_shared PRIVATE $<TARGET_OBJECTS:${layer}>)
endforeach()
target_link_libraries(graft_shared PRIVATE ${libs})
target_link_options(graft_shared PRIVATE -Wl,--version-script=${CMAKE_CURRENT_LIST_DIR}/graft.map -Wl,--no-undefined)
target_include_directories(graft_shared INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(graft_shared INTERFACE cxx_std_20)
add_library(graft::shared ALIAS graft_shared)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/graft)
install(TARGETS graft_library graft_shared EXPORT graftTargets)
install(TARGETS graft_cli)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/graft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(EXPORT graftTargets NAMESPACE graft:: DESTINATION ${package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
configure_file(${CMAKE_CURRENT_LIST_DIR}/graft.pc.in ${PROJECT_BINARY_DIR}/graft.pc.in.configured @ONLY)
# The prefix may be chosen as late as `cmake --install --prefix`.
install(CODE "file(READ \"${PROJECT_BINARY_DIR}/graft.pc.in.configured\" text)
  string(REGEX REPLACE \"^prefix=[^\n]*\" \"prefix=\${CMAKE_INSTALL_PREFIX}\" text \"\${text}\")
  file(WRITE \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig/graft.pc\" \"\${text}\")")
write_basic_package_version_file(${PROJECT_BINARY_DIR}/graftConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/graftConfig.cmake ${PROJECT_SOURCE_DIR}/cmake/graftDependencies.cmake
              ${PROJECT_BINARY_DIR}/graftConfigVersion.cmake
        DESTINATION ${package_dir})
