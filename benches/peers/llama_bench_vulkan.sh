#!/bin/sh
# llama.cpp's llama-bench on its prebuilt Vulkan libraries (building those wants newer headers than Debian has):
#   sh llama_bench_vulkan.sh FOLDER [VERSION]
# VERSION is that of node-llama-cpp on npm, whose packages hold the libraries and the source they were built from. Then
#   LLAMA_BENCH=FOLDER/bin/llama-bench cargo xtask bench --gpu
# with GGML_VK_VISIBLE_DEVICES=0 where only a software device is there.
set -eu
folder=$1 version=${2:-3.22.1} npm=https://registry.npmjs.org
mkdir -p "$folder/bin" && cd "$folder"
curl -sSf "$npm/node-llama-cpp/-/node-llama-cpp-$version.tgz" | tar xzf - package/llama/gitRelease.bundle
curl -sSf "$npm/@node-llama-cpp/linux-x64-vulkan/-/linux-x64-vulkan-$version.tgz" | tar xzf - -C bin --strip-components 3
[ -d source ] || git clone -q package/llama/gitRelease.bundle source
cd source
c++ -O1 -std=c++17 -w -Iinclude -Iggml/include -Icommon -Ivendor -Isrc tools/llama-bench/*.cpp -o ../bin/llama-bench \
    -L../bin -l:libllama-common.so -l:"$(cd ../bin && ls libllama.vulkan.*.so)" -l:"$(cd ../bin && ls libggml.vulkan.*.so)" \
    -l:libggml-base.so -Wl,-rpath,'$ORIGIN' -lpthread
