// Runs one signature of a SavedModel with the C++ loader that TensorFlow Serving uses.
//
//     score MODEL SIGNATURE INPUTS OUTPUTS
//
// INPUTS is a folder of serialized TensorProto files named by input, OUTPUTS one to write those of the outputs to.

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

int main(int argc, char** argv) {
  if (argc != 5) return Fail("usage: score MODEL SIGNATURE INPUTS OUTPUTS");
  const std::string name = argv[2];

  tensorflow::SavedModelBundle bundle;
  tensorflow::Status status =
      tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle);
  if (!status.ok()) return Fail(status.ToString());
  const auto& signatures = bundle.GetSignatures();
  const auto found = signatures.find(name);
  if (found == signatures.end()) return Fail("no signature " + name);

  std::vector<std::pair<std::string, tensorflow::Tensor>> feed;
  for (const auto& [key, info] : found->second.inputs()) {
    std::ifstream file(fs::path(argv[3]) / key, std::ios::binary);
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
  status = bundle.GetSession()->Run(feed, fetches, {}, &outputs);
  if (!status.ok()) return Fail(status.ToString());
  for (size_t i = 0; i < keys.size(); ++i) {
    tensorflow::TensorProto proto;
    outputs[i].AsProtoTensorContent(&proto);
    std::ofstream(fs::path(argv[4]) / keys[i], std::ios::binary) << proto.SerializeAsString();
  }
  return 0;
}
