// Files: tokens and arrays to train on, and the directories that checkpoints are.

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <filesystem>

#include "actors/engine/array_source.h"
#include "actors/engine/token_source.h"
#include "python/bindings/arrays.h"
#include "runtime/files/array_files.h"
#include "runtime/files/atomic_dir.h"
#include "runtime/files/file.h"
#include "runtime/files/row_order.h"
#include "runtime/files/safetensors.h"
#include "runtime/files/token_file.h"
#include "runtime/files/token_windows.h"

namespace troupe::python {
namespace {

TokenType token_type(const std::string& name) {
  if (name == "u8") return TokenType::u8;
  if (name == "u16") return TokenType::u16;
  if (name == "i32") return TokenType::i32;
  throw PlanError("tokens of type " + name + " cannot be read; u8, u16, i32 are possible");
}

// A part of the tokens of some files.
struct Tokens {
  std::vector<std::string> paths;
  TokenType type = TokenType::u8;
  std::shared_ptr<const TokenFiles> files;
  int64_t begin = 0;
  int64_t size = 0;
};

// For processes with other directories.
std::vector<std::string> absolute(const std::vector<std::string>& paths) {
  std::vector<std::string> all;
  for (const std::string& path : paths) all.push_back(std::filesystem::absolute(path));
  return all;
}

Tokens open_tokens(const std::vector<std::string>& paths, const std::string& type, double begin, double end) {
  auto files = std::make_shared<const TokenFiles>(TokenFiles::open(paths, token_type(type)));
  const double size = static_cast<double>(files->size());
  const auto first = static_cast<int64_t>(size * begin);
  return {absolute(paths), token_type(type), std::move(files), first, static_cast<int64_t>(size * end) - first};
}

nb::object tokens_at(const Tokens& tokens, int64_t begin, int64_t count) {
  if (begin < 0 || count < 0 || begin + count > tokens.size) throw nb::index_error("no such tokens");
  return new_array(DType::i32, {count}, [&](std::span<std::byte> into) {
    tokens.files->copy(tokens.begin + begin, count, reinterpret_cast<int32_t*>(into.data()));
  });
}

// [rows, seq + 1] for a step of the pass in order.
nb::object windows_at(const Tokens& tokens, const TokenWindows& windows, int64_t seq, int64_t step) {
  const int64_t rows = windows.rows_in(step);
  return new_array(DType::i32, {rows, seq + 1}, [&](std::span<std::byte> into) {
    int32_t* to = reinterpret_cast<int32_t*>(into.data());
    for (int64_t row = 0; row < rows; ++row) {
      tokens.files->copy(tokens.begin + windows.start(step, row), seq + 1, to + row * (seq + 1));
    }
  });
}

std::shared_ptr<Source> source_of(const Tokens& tokens, int64_t seq, int64_t batch, uint64_t seed, int64_t shift) {
  return std::make_shared<TokenSource>(
      tokens.files, TokenRows{tokens.paths, tokens.type, tokens.begin + shift, tokens.size, seq, batch, seed});
}

// The rows of some files.
struct ArrayRowFiles {
  std::vector<std::string> paths;
  std::shared_ptr<const ArrayFiles> files;
};

// [count, ...]: the rows `row_at(0)`, `row_at(1)`, ...
template <class RowAt>
nb::object rows_of(const ArrayFiles& files, int64_t count, RowAt&& row_at) {
  Shape shape = files.row_shape();
  shape.insert(0, count);
  return new_array(files.dtype(), shape, [&](std::span<std::byte> into) {
    const nb::gil_scoped_release others_run;
    const auto bytes = static_cast<size_t>(files.row_bytes());
    for (int64_t i = 0; i < count; ++i) files.read(row_at(i), 0, into.subspan(static_cast<size_t>(i) * bytes, bytes));
  });
}

nb::object batch_of(const ArrayRowFiles& rows, const RowOrder& order, int64_t step) {
  const RowOrder::Batch batch = order.at(step);
  return rows_of(*rows.files, order.choice().batch, [&](int64_t place) { return batch.row(place); });
}

nb::object rows_from(const ArrayRowFiles& rows, int64_t first, int64_t count) {
  if (first < 0 || count < 0 || first > rows.files->rows() - count) throw nb::index_error("no such rows");
  return rows_of(*rows.files, count, [&](int64_t i) { return first + i; });
}

nb::object row_numbers(const RowOrder& order, int64_t step) {
  const RowOrder::Batch batch = order.at(step);
  return new_array(DType::i64, {order.choice().batch}, [&](std::span<std::byte> into) {
    for (int64_t i = 0; i < order.choice().batch; ++i) reinterpret_cast<int64_t*>(into.data())[i] = batch.row(i);
  });
}

// Writes {file name: {tensor name: array} or text} as one directory that appears whole or not at all.
void save_directory(const std::string& path, const nb::dict& files) {
  AtomicDir directory(path);
  for (const auto& [key, content] : files) {
    const std::string name = nb::cast<std::string>(key);
    if (nb::isinstance<nb::str>(content)) {
      const std::string text = nb::cast<std::string>(content);
      directory.write(name, std::as_bytes(std::span(text)));
      continue;
    }
    std::vector<InputArray> arrays;
    std::vector<NamedTensor> tensors;
    for (const auto& [tensor, value] : nb::cast<nb::dict>(content)) {
      arrays.push_back(nb::cast<InputArray>(value));
      tensors.push_back({nb::cast<std::string>(tensor), dtype_of_array(arrays.back()), shape_of_array(arrays.back()),
                         bytes_of(arrays.back())});
    }
    write_safetensors(directory.file(name), std::move(tensors));
  }
  directory.commit();
}

// A file that appears whole or not at all.
void replace_text(const std::string& what, const std::string& path, const std::string& text) {
  replace_file(what, path, {{std::as_bytes(std::span(text))}});
}

// NumPy has no bfloat16.
nb::object widened(const NamedTensor& tensor) {
  return new_array(DType::f32, tensor.shape, [&](std::span<std::byte> into) {
    for (size_t i = 0; i < tensor.bytes.size() / sizeof(BFloat16); ++i) {
      BFloat16 value;
      std::memcpy(&value, tensor.bytes.data() + i * sizeof value, sizeof value);
      reinterpret_cast<float*>(into.data())[i] = value;
    }
  });
}

// By name; bfloat16 becomes float32.
nb::dict load_tensors(const std::string& path) {
  const SafetensorsFile file(path);
  nb::dict result;
  for (const NamedTensor& tensor : file.tensors()) {
    if (tensor.dtype == DType::bf16) {
      result[tensor.name.c_str()] = widened(tensor);
      continue;
    }
    result[tensor.name.c_str()] = new_array(tensor.dtype, tensor.shape, [&](std::span<std::byte> into) {
      if (!tensor.bytes.empty()) std::memcpy(into.data(), tensor.bytes.data(), tensor.bytes.size());
    });
  }
  return result;
}

}  // namespace

void bind_files(nb::module_& module) {
  nb::class_<TokenWindows>(module, "TokenWindows", "Which tokens the rows of a batch hold.")
      .def_static("sequential", &TokenWindows::sequential)
      .def_static("shuffled", &TokenWindows::shuffled)
      .def("start", &TokenWindows::start)
      .def("steps", &TokenWindows::steps);
  nb::class_<Tokens>(module, "Tokens", "Files as one list of tokens.")
      .def("__init__", [](Tokens* self, const std::vector<std::string>& paths, const std::string& type, double begin,
                          double end) { new (self) Tokens(open_tokens(paths, type, begin, end)); })
      .def("__len__", [](const Tokens& self) { return self.size; })
      .def("at", &tokens_at)
      .def("windows_at", &windows_at)
      .def("source", &source_of);
  nb::class_<RowOrder>(module, "RowOrder", "Which rows of an array the batches of training hold.")
      .def("__init__", [](RowOrder* self, int64_t rows, int64_t batch, uint64_t seed,
                          bool shuffled) { new (self) RowOrder({rows, batch, seed, shuffled}); })
      .def("at", &row_numbers);
  nb::class_<ArrayRowFiles>(module, "ArrayFiles", "Files of the .npy format as one array.")
      .def("__init__",
           [](ArrayRowFiles* self, const std::vector<std::string>& paths) {
             new (self) ArrayRowFiles{absolute(paths), std::make_shared<const ArrayFiles>(ArrayFiles::open(paths))};
           })
      .def("__len__", [](const ArrayRowFiles& self) { return self.files->rows(); })
      .def_prop_ro("dtype", [](const ArrayRowFiles& self) { return std::string(name_of(self.files->dtype())); })
      .def_prop_ro("row_shape", [](const ArrayRowFiles& self) { return self.files->row_shape().vector(); })
      .def("rows", &rows_from)
      .def("batch", &batch_of)
      .def("source", [](const ArrayRowFiles& self, std::shared_ptr<RowOrder> order) -> std::shared_ptr<Source> {
        return std::make_shared<ArraySource>(self.paths, self.files, std::move(order));
      });
  module.def("save_directory", &save_directory);
  module.def("replace_text", &replace_text);
  module.def("load_tensors", &load_tensors);
  module.def("recover_directory", &recover_dir);
}

}  // namespace troupe::python
