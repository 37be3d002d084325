// Makes requests of a SavedModel by the C++ loader that TensorFlow Serving uses.
//
//     score MODEL INPUTS OUTPUTS
//
// INPUTS holds a folder for each request, named SIGNATURE or SIGNATURE.ANYTHING, with serialized TensorProto files named
// by input; OUTPUTS, which is made, gets the same of the outputs. Requests that fail are told, each on a line, and end
// the program with 1 after all are made.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"

namespace fs = std::filesystem;

int Fail(const std::string& message) {
  std::cerr << message << std::endl;
  return 1;
}

int Run(const tensorflow::SavedModelBundle& bundle, const fs::path& from, const fs::path& to) {
  const auto& signatures = bundle.GetSignatures();
  const auto found = signatures.find(from.stem());
  if (found == signatures.end()) return Fail("no signature " + from.stem().string());

  std::vector<std::pair<std::string, tensorflow::Tensor>> feed;
  for (const auto& [key, info] : found->second.inputs()) {
    std::ifstream file(from / key, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    tensorflow::TensorProto proto;
    tensorflow::Tensor tensor;
    if (!file || !proto.ParseFromString(content) || !tensor.FromProto(proto)) return Fail("no input " + key);
    feed.emplace_back(info.name(), tensor);
  }
  std::vector<std::string> keys, fetches;
  for (const auto& [key, info] : found->second.outputs()) {
    keys.push_back(key);
    fetches.push_back(info.name());
  }
  std::vector<tensorflow::Tensor> outputs;
  const tensorflow::Status status = bundle.GetSession()->Run(feed, fetches, {}, &outputs);
  if (!status.ok()) {
    std::string message = status.ToString();
    std::replace(message.begin(), message.end(), '\n', ' ');
    return Fail(from.filename().string() + ": " + message);
  }
  fs::create_directories(to);
  for (size_t i = 0; i < keys.size(); ++i) {
    tensorflow::TensorProto proto;
    outputs[i].AsProtoTensorContent(&proto);
    std::ofstream(to / keys[i], std::ios::binary) << proto.SerializeAsString();
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc != 4) return Fail("usage: score MODEL INPUTS OUTPUTS");
  tensorflow::SavedModelBundle bundle;
  const tensorflow::Status status = tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle);
  if (!status.ok()) return Fail(status.ToString());
  int failed = 0;
  for (const auto& folder : fs::directory_iterator(argv[2])) {
    failed |= Run(bundle, folder.path(), fs::path(argv[3]) / folder.path().filename());
  }
  return failed;
}
