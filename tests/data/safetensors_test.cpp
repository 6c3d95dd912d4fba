#include "data/safetensors.h"

#include <cstring>
#include <functional>

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/sha256.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Safetensors : public testing::Test {
 protected:
  static std::string with_size(const std::string& header, const std::string& data, uint64_t size) {
    return std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + data;
  }
  static std::string with_header(const std::string& header, const std::string& data) {
    return with_size(header, data, header.size());
  }
  fs::path write(const std::string& name, const std::vector<std::pair<std::string, at::Tensor>>& tensors) const {
    std::vector<SafetensorsEntry> entries;
    for (const auto& [key, tensor] : tensors) entries.push_back({key, tensor.scalar_type(), tensor.sizes().vec()});
    SafetensorsWriter writer(folder_ / name, entries, {{"format", "pt"}});
    for (const auto& [key, tensor] : tensors) writer.write(tensor);
    EXPECT_EQ(writer.commit(), sha256_file(folder_ / name));
    return folder_ / name;
  }
  static std::string error_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const BadInput& error) {
      return error.what();
    }
    return "(no error)";
  }
  std::string open_error(const std::string& bytes) const {
    const fs::path path = folder_.put("x.safetensors", bytes);
    return error_of([&] { SafetensorsReader reader(path); });
  }
  // The error of a file whose only tensor "t" has this entry and 16 bytes of data.
  std::string entry_error(const std::string& entry) const {
    return open_error(with_header("{\"t\":" + entry + "}", std::string(16, '\0')));
  }

  TemporaryFolder folder_;
};

at::Tensor read_whole(const SafetensorsReader& reader, const std::string& name) {
  at::Tensor out = at::empty(reader.shape(name), reader.dtype(name));
  reader.read(name, -1, 0, 0, out);
  return out;
}

TEST_F(Safetensors, WrittenTensorsReadBackBitForBit) {
  const at::Tensor matrix = at::randn({5, 7});
  const at::Tensor count = at::arange(6).view({1, 2, 3});
  const at::Tensor scalar = at::scalar_tensor(2.5, at::kDouble);
  const at::Tensor none = at::empty({0, 4});
  const at::Tensor half = at::randn({3, 3}).to(at::kHalf);
  const at::Tensor brain = at::randn({3}).to(at::kBFloat16);
  const at::Tensor bytes = at::arange(5).to(at::kByte);
  const SafetensorsReader reader(write("a.safetensors", {{"count", count},
                                                         {"scalar", scalar},
                                                         {"matrix", matrix},
                                                         {"none", none},
                                                         {"half", half},
                                                         {"brain", brain},
                                                         {"é \"x\"", bytes}}));
  EXPECT_THAT(reader.names(), ElementsAre("brain", "count", "half", "matrix", "none", "scalar", "é \"x\""));
  EXPECT_EQ(reader.metadata().at("format"), "pt");
  EXPECT_THAT(reader.shape("count"), ElementsAre(1, 2, 3));
  EXPECT_EQ(reader.dtype("brain"), at::kBFloat16);
  EXPECT_TRUE(at::equal(read_whole(reader, "matrix"), matrix));
  EXPECT_TRUE(at::equal(read_whole(reader, "count"), count));
  EXPECT_TRUE(at::equal(read_whole(reader, "scalar"), scalar));
  EXPECT_TRUE(at::equal(read_whole(reader, "none"), none));
  EXPECT_TRUE(at::equal(read_whole(reader, "half"), half));
  EXPECT_TRUE(at::equal(read_whole(reader, "brain"), brain));
  EXPECT_TRUE(at::equal(read_whole(reader, "é \"x\""), bytes));
  EXPECT_FALSE(reader.has("other"));
  EXPECT_THAT(error_of([&] { reader.shape("other"); }),
              AllOf(HasSubstr("a.safetensors"), HasSubstr("no tensor 'other'")));
}

// These bytes were written by the Python package safetensors 0.8.0:
// save_file({"b": torch.tensor([1, 2], dtype=torch.bfloat16), "a": torch.tensor([[1.0, -2.0]])}, f, {"format": "pt"})
TEST_F(Safetensors, FilesOfThePythonPackageAreRead) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]}}  )";
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x80\x3f\x00\x40", 12);
  const SafetensorsReader reader(folder_.put("p.safetensors", with_header(header, data)));
  EXPECT_TRUE(at::equal(read_whole(reader, "a"), at::tensor({1.0f, -2.0f}).view({1, 2})));
  at::Tensor out = at::empty({2});
  reader.read("b", -1, 0, 0, out);
  EXPECT_TRUE(at::equal(out, at::tensor({1.0f, 2.0f})));
}

TEST_F(Safetensors, SlicesOfEveryDimensionEqualThoseOfTheWhole) {
  const at::Tensor tensor = at::randn({6, 5, 4});
  const SafetensorsReader reader(write("a.safetensors", {{"t", tensor}}));
  for (int64_t dim = 0; dim < 3; ++dim)
    for (int64_t begin = 0; begin <= tensor.size(dim); ++begin)
      for (int64_t end = begin; end <= tensor.size(dim); ++end) {
        const at::Tensor expected = tensor.narrow(dim, begin, end - begin);
        at::Tensor out = at::full_like(expected, 99);
        reader.read("t", dim, begin, end, out);
        ASSERT_TRUE(at::equal(out, expected)) << dim << " " << begin << " " << end;
      }
}

TEST_F(Safetensors, FloatsAreConvertedToTheDtypeOfTheOutput) {
  const at::Tensor values = at::randn({4, 6});
  for (const at::ScalarType from : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor stored = values.to(from);
    const SafetensorsReader reader(write("a.safetensors", {{"t", stored}}));
    for (const at::ScalarType to : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
      at::Tensor out = at::empty({4, 2}, to);
      reader.read("t", 1, 3, 5, out);
      EXPECT_TRUE(at::equal(out, stored.narrow(1, 3, 2).to(to))) << from << " to " << to;
    }
  }
}

TEST_F(Safetensors, OutputMayBeAPartOfALargerTensor) {
  const at::Tensor tensor = at::randn({4, 6});
  const SafetensorsReader reader(write("a.safetensors", {{"t", tensor}}));
  at::Tensor larger = at::zeros({8, 9});
  reader.read("t", 0, 1, 3, larger.narrow(0, 2, 2).narrow(1, 3, 6));
  EXPECT_TRUE(at::equal(larger.narrow(0, 2, 2).narrow(1, 3, 6), tensor.narrow(0, 1, 2)));
  EXPECT_EQ(larger.count_nonzero().item<int64_t>(), 12);
}

TEST_F(Safetensors, UnpaddedHeadersAreRead) {
  const at::Tensor tensor = at::arange(12, at::kFloat).view({3, 4});
  const std::string data(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  for (int spaces = 0; spaces < 8; ++spaces) {
    const std::string header =
        R"({"t":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]}})" + std::string(spaces, ' ');
    const SafetensorsReader reader(folder_.put("u.safetensors", with_header(header, data)));
    EXPECT_TRUE(at::equal(read_whole(reader, "t"), tensor));
    at::Tensor out = at::empty({3, 2}, at::kDouble);
    reader.read("t", 1, 1, 3, out);
    EXPECT_TRUE(at::equal(out, tensor.narrow(1, 1, 2).to(at::kDouble)));
    at::Tensor row = at::empty({1, 4});
    reader.read("t", 0, 2, 3, row);
    EXPECT_TRUE(at::equal(row, tensor.narrow(0, 2, 1)));
  }
}

TEST_F(Safetensors, ReadingAnotherShapeOrPartNamesTheTensor) {
  const SafetensorsReader reader(write("a.safetensors", {{"n", at::arange(3)}, {"t", at::zeros({4, 6})}}));
  const auto error = [&](const std::string& name, int64_t dim, int64_t begin, int64_t end, const at::Tensor& out) {
    return error_of([&] { reader.read(name, dim, begin, end, out); });
  };
  EXPECT_THAT(error("t", -1, 0, 0, at::empty({6, 4})),
              AllOf(HasSubstr("a.safetensors: tensor 't' of shape [4, 6]"), HasSubstr("[6, 4] is expected")));
  EXPECT_THAT(error("t", 1, 4, 7, at::empty({4, 3})), HasSubstr("has no part [4, 7) of dimension 1"));
  EXPECT_THAT(error("t", 2, 0, 1, at::empty({4, 3})), HasSubstr("has no part"));
  EXPECT_THAT(error("t", 0, -1, 1, at::empty({2, 6})), HasSubstr("has no part"));
  EXPECT_THAT(error("n", -1, 0, 0, at::empty({3})), AllOf(HasSubstr("'n'"), HasSubstr("is I64")));
  EXPECT_THAT(error("x", -1, 0, 0, at::empty({3})), HasSubstr("no tensor 'x'"));
}

TEST_F(Safetensors, FilesCutAnywhereAreRefused) {
  write("whole.safetensors", {{"a", at::randn({2, 3})}, {"b", at::randn({4})}});
  const std::string bytes = folder_.get("whole.safetensors");
  for (size_t size = 0; size < bytes.size(); ++size)
    ASSERT_THAT(open_error(bytes.substr(0, size)), HasSubstr("x.safetensors: ")) << size;
  EXPECT_THAT(open_error(bytes.substr(0, bytes.size() - 1)), AllOf(HasSubstr("tensor 'b'"), HasSubstr("truncated")));
  EXPECT_THAT(open_error(bytes + "x"), HasSubstr("1 bytes after the last tensor"));
  EXPECT_EQ(open_error(bytes), "(no error)");
}

TEST_F(Safetensors, AnyFlippedHeaderByteIsReadOrRefusedButNeverCrashes) {
  write("whole.safetensors", {{"a", at::randn({2, 3})}, {"b", at::randn({4})}});
  const std::string bytes = folder_.get("whole.safetensors");
  for (size_t at = 0; at < bytes.size() - 40; ++at)
    for (const int flip : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      std::string broken = bytes;
      broken[at] = static_cast<char>(broken[at] ^ flip);
      const fs::path path = folder_.put("x.safetensors", broken);
      try {
        const SafetensorsReader reader(path);
        for (const std::string& name : reader.names()) read_whole(reader, name);
      } catch (const BadInput& error) {
        ASSERT_THAT(error.what(), HasSubstr("x.safetensors"));
      }
    }
}

TEST_F(Safetensors, HostileHeadersAreRefused) {
  EXPECT_THAT(open_error(with_size("{}", "", 1000)), HasSubstr("claims a header of 1000 bytes"));
  EXPECT_THAT(open_error(with_size("{}", "", UINT64_MAX)), HasSubstr("claims a header of"));
  EXPECT_THAT(open_error(with_size("{}", "", UINT64_MAX - 7)), HasSubstr("claims a header of"));
  EXPECT_THAT(open_error(with_header("", "")), HasSubstr("no JSON"));
  EXPECT_THAT(open_error(with_header("{nonsense", "")), HasSubstr("no JSON"));
  EXPECT_THAT(open_error(with_header("{\"\xff\": 1}", "")), HasSubstr("no JSON"));
  EXPECT_THAT(open_error(with_header("[]", "")), HasSubstr("no JSON object"));
  EXPECT_THAT(open_error(with_header(std::string(1 << 20, '['), "")), HasSubstr("nested deeper"));
  EXPECT_THAT(open_error(with_header(R"({"t":{"dtype":{"a":{"b":1}}}})", "")), HasSubstr("nested deeper"));
  EXPECT_THAT(open_error(with_header(R"({"__metadata__":{"a":1}})", "")), HasSubstr("__metadata__ 'a'"));
  EXPECT_THAT(open_error(with_header(R"({"__metadata__":3})", "")), HasSubstr("__metadata__"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[1e999],"data_offsets":[0,16]})"), HasSubstr("number"));
  const std::string entry = R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})";
  EXPECT_THAT(open_error(with_header("{\"t\":" + entry + ",\"t\":" + entry + "}", std::string(16, '\0'))),
              HasSubstr("names 't' twice"));
  EXPECT_THAT(entry_error(R"({"dtype":"F32","shape":[4],"shape":[2],"data_offsets":[0,16]})"),
              HasSubstr("names 'shape' twice"));
  EXPECT_EQ(entry_error(entry), "(no error)");

  // A header above the limit, in a file that has room for it.
  folder_.put("x.safetensors", with_size("", "", 100'000'001));
  fs::resize_file(folder_ / "x.safetensors", 200'000'000);
  EXPECT_THAT(error_of([&] { SafetensorsReader reader(folder_ / "x.safetensors"); }), HasSubstr("limit 100000000"));
}

TEST_F(Safetensors, HostileEntriesNameTheirTensor) {
  for (const char* entry : {
           R"(3)",
           R"({})",
           R"({"dtype":"F32","shape":[4]})",
           R"({"dtype":"F8_E4M3","shape":[16],"data_offsets":[0,16]})",
           R"({"dtype":7,"shape":[16],"data_offsets":[0,16]})",
           R"({"dtype":"F32","shape":4,"data_offsets":[0,16]})",
           R"({"dtype":"F32","shape":[-4],"data_offsets":[0,16]})",
           R"({"dtype":"F32","shape":[4.0],"data_offsets":[0,16]})",
           R"({"dtype":"F32","shape":["4"],"data_offsets":[0,16]})",
           R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,16]})",
           R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})",
           R"({"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]})",
           R"({"dtype":"F32","shape":[4],"data_offsets":[0]})",
           R"({"dtype":"F32","shape":[4],"data_offsets":[0,12]})",
           R"({"dtype":"F32","shape":[4],"data_offsets":[16,0]})",
           R"({"dtype":"F32","shape":[4],"data_offsets":[-16,0]})",
           R"({"dtype":"F32","shape":[4],"data_offsets":[4,20]})",
           R"({"dtype":"F32","shape":[2],"data_offsets":[8,16]})",
           R"({"dtype":"F32","shape":[4],"data_offsets":[9223372036854775792,9223372036854775808]})",
           R"({"dtype":"F32","shape":[4],"data_offsets":[9223372036854775791,9223372036854775807]})",
       })
    EXPECT_THAT(entry_error(entry), AllOf(HasSubstr("x.safetensors: "), HasSubstr("'t'"))) << entry;
  const std::string ones = std::string("[") + [] {
    std::string text = "1";
    for (int i = 0; i < 70; ++i) text += ",1";
    return text;
  }() + "]";
  EXPECT_THAT(entry_error(R"({"dtype":"F32","data_offsets":[0,4],"shape":)" + ones + "}"), HasSubstr("'t'"));
}

TEST_F(Safetensors, OverlapsAndGapsAreRefused) {
  const auto error = [&](const std::string& a, const std::string& b) {
    return open_error(with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + a +
                                      R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + b + "}}",
                                  std::string(16, '\0')));
  };
  EXPECT_EQ(error("[0,8]", "[8,16]"), "(no error)");
  EXPECT_EQ(error("[8,16]", "[0,8]"), "(no error)");
  EXPECT_THAT(error("[0,8]", "[4,12]"), AllOf(HasSubstr("tensor 'b'"), HasSubstr("overlap")));
  EXPECT_THAT(error("[0,8]", "[0,8]"), AllOf(HasSubstr("tensor 'b'"), HasSubstr("overlap")));
  EXPECT_THAT(error("[4,12]", "[12,20]"), HasSubstr("truncated"));
}

TEST_F(Safetensors, WhatIsNoFileIsRefused) {
  EXPECT_THAT(error_of([&] { SafetensorsReader reader(folder_ / "none"); }), HasSubstr("does not exist"));
  EXPECT_THAT(error_of([&] { SafetensorsReader reader(folder_.path()); }), HasSubstr("has no weights"));
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { SafetensorsReader reader(folder_ / "pipe"); }), HasSubstr("not a regular file"));
  fs::create_directory(folder_ / "model.safetensors");
  EXPECT_THAT(error_of([&] { SafetensorsReader reader(folder_.path()); }),
              HasSubstr("model.safetensors: is not a regular file"));
}

TEST_F(Safetensors, OnlyBinWeightsTellHowToConvert) {
  folder_.put("pytorch_model-00001-of-00002.bin", "x");
  EXPECT_THAT(error_of([&] { SafetensorsReader reader(folder_.path()); }),
              AllOf(HasSubstr("has only pytorch_model-00001-of-00002.bin"),
                    HasSubstr("save_pretrained('" + folder_.path().string() + "'")));
}

TEST_F(Safetensors, ShardsAreFoundThroughTheIndex) {
  const at::Tensor a = at::randn({2, 3}), b = at::randn({4});
  write("model-00001-of-00002.safetensors", {{"a", a}});
  write("model-00002-of-00002.safetensors", {{"b", b}, {"unlisted", b}});
  folder_.put("model.safetensors.index.json", R"({"metadata":{"total_size":40},
      "weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  const SafetensorsReader reader(folder_.path());
  EXPECT_THAT(reader.names(), ElementsAre("a", "b"));
  EXPECT_TRUE(at::equal(read_whole(reader, "a"), a));
  EXPECT_TRUE(at::equal(read_whole(reader, "b"), b));
  EXPECT_THAT(reader.files(),
              ElementsAre(folder_ / "model-00001-of-00002.safetensors", folder_ / "model-00002-of-00002.safetensors"));
  EXPECT_THAT(error_of([&] { reader.shape("c"); }), AllOf(HasSubstr(folder_.path().string()), HasSubstr("'c'")));
}

TEST_F(Safetensors, BrokenIndexesAreRefused) {
  write("one.safetensors", {{"a", at::randn({2})}});
  const auto error = [&](const std::string& index) {
    folder_.put("model.safetensors.index.json", index);
    return error_of([&] { SafetensorsReader reader(folder_.path()); });
  };
  const auto shard_error = [&](const std::string& shard) { return error(R"({"weight_map":{"a":")" + shard + "\"}}"); };
  EXPECT_EQ(shard_error("one.safetensors"), "(no error)");
  EXPECT_THAT(shard_error("two.safetensors"),
              AllOf(HasSubstr("index.json"), HasSubstr("two.safetensors"), HasSubstr("'a'")));
  EXPECT_THAT(error(R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors"}})"),
              AllOf(HasSubstr("one.safetensors: has no tensor 'b'"), HasSubstr("index.json")));
  const std::string here = folder_.path().filename().string();
  for (const std::string& shard :
       {"../" + here + "/one.safetensors", (folder_ / "one.safetensors").string(), std::string("./one.safetensors"),
        std::string(".."), std::string("."), std::string("")})
    EXPECT_THAT(shard_error(shard), AllOf(HasSubstr("index.json"), HasSubstr("'a'"), HasSubstr("same folder")))
        << shard;
  EXPECT_THAT(shard_error(std::string(5000, 'x')), HasSubstr("'a'"));
  EXPECT_THAT(error(""), HasSubstr("index.json: is empty"));
  EXPECT_THAT(error("{"), HasSubstr("index.json: the index is no JSON"));
  EXPECT_THAT(error("[]"), HasSubstr("weight_map"));
  EXPECT_THAT(error(R"({"weight_map":{}})"), HasSubstr("weight_map"));
  EXPECT_THAT(error(R"({"weight_map":{"a":3}})"), HasSubstr("'a'"));
  EXPECT_THAT(error(R"({"weight_map":{"a":"one.safetensors","a":"one.safetensors"}})"), HasSubstr("names 'a' twice"));
}

TEST_F(Safetensors, DataBeginsAtAMultipleOfEightBytes) {
  for (const char* name : {"t", "tt", "ttt", "tttt", "ttttt"}) {
    const fs::path path = write("a.safetensors", {{name, at::zeros({1})}});
    EXPECT_EQ(fs::file_size(path) % 8, 4u) << name;
  }
}

TEST_F(Safetensors, WriterRefusesWhatWasNotListed) {
  const fs::path path = folder_ / "w.safetensors";
  SafetensorsWriter writer(path, {{"a", at::kFloat, {2}}, {"b", at::kFloat, {3}}}, {});
  EXPECT_THROW(writer.write(at::zeros({3})), Failure);
  EXPECT_THROW(writer.write(at::zeros({2}, at::kDouble)), Failure);
  EXPECT_THROW(writer.write(at::zeros({2, 2}).select(1, 0)), Failure);
  writer.write(at::zeros({2}));
  EXPECT_THROW(writer.commit(), Failure);
  writer.write(at::zeros({3}));
  EXPECT_THROW(writer.write(at::zeros({3})), Failure);
  writer.commit();
  EXPECT_TRUE(fs::exists(path));
  const auto start = [&](const std::vector<SafetensorsEntry>& entries) { SafetensorsWriter again(path, entries, {}); };
  EXPECT_THROW(start({{"a", at::kFloat, {2}}, {"a", at::kFloat, {2}}}), Failure);
  EXPECT_THROW(start({{"__metadata__", at::kFloat, {2}}}), Failure);
  EXPECT_THROW(start({{"a", at::kByte, {3}}, {"b", at::kFloat, {2}}}), Failure);
  EXPECT_THROW(start({{"a", at::kComplexFloat, {3}}}), Failure);
}

TEST_F(Safetensors, WriterWithoutCommitLeavesNoFile) {
  const fs::path path = folder_ / "w.safetensors";
  {
    SafetensorsWriter writer(path, {{"a", at::kFloat, {2}}}, {});
    writer.write(at::zeros({2}));
  }
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace spt
