# cmake -DFILE=BUILD/compile_commands.json -P compile_database.cmake
# Rewrites compile_commands.json with one entry per source. With GRAFT_UNITY, CMake lists generated sources that include twelve of the
# project's each; clang-tidy and clangd would not find those.
cmake_minimum_required(VERSION 3.25)
file(STRINGS "${FILE}" lines REGEX "^  \"")  # the bracket of the array would hold a CMake list together
set(entries "")
foreach(line IN LISTS lines)
  if(line MATCHES "^  \"directory\": (.*),$")
    set(directory "${CMAKE_MATCH_1}")
  elseif(line MATCHES "^  \"command\": (.*),$")
    # A precompiled header is for the compiler that made it; every source includes what it uses.
    string(REGEX REPLACE " -Winvalid-pch -include [^ ]*cmake_pch.hxx" "" command "${CMAKE_MATCH_1}")
  elseif(line MATCHES "^  \"file\": \"(.*)\",?$")
    set(file "${CMAKE_MATCH_1}")
    set(sources "${file}")
    if(file MATCHES "/Unity/unity_[0-9]+_c")
      file(STRINGS "${file}" sources REGEX "^#include \"")
      list(TRANSFORM sources REPLACE "^#include \"(.*)\"$" "\\1")
    endif()
    foreach(source IN LISTS sources)
      string(REPLACE "${file}" "${source}" own "${command}")
      list(APPEND entries "{\n  \"directory\": ${directory},\n  \"command\": ${own},\n  \"file\": \"${source}\"\n}")
    endforeach()
  endif()
endforeach()
list(JOIN entries ",\n" text)
file(WRITE "${FILE}" "[\n${text}\n]\n")
