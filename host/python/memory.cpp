// SPDX-License-Identifier: Apache-2.0
#include "host/python/memory.hpp"

#include <memory>
#include <new>
#include <vector>

#include "host/python/arguments.hpp"

namespace mixfuse::python {
namespace {

constexpr std::align_val_t alignment{256};

/// What a capsule keeps alive, without Python: its deleter may run on any thread, at any time.
struct Block {
  std::vector<std::int64_t> shape, strides;
  DLDataType dtype;
  void* data;

  Block(nb::handle extents, nb::handle name) : dtype{} {
    DType const type = python::dtype("dtype", name);
    std::size_t size = size_of(type);
    dtype.lanes = 1;
    dtype.bits = static_cast<std::uint8_t>(8 * size);
    dtype.code = static_cast<std::uint8_t>(type == DType::bf16                        ? kDLBfloat
                                           : type == DType::boolean                   ? kDLBool
                                           : type == DType::u8                        ? kDLUInt
                                           : type == DType::i32 || type == DType::i64 ? kDLInt
                                                                                      : kDLFloat);
    for (nb::handle const extent : extents) shape.push_back(integer("shape", extent));
    strides.resize(shape.size());
    std::int64_t stride = 1;
    for (std::size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) strides[axis] = stride;
    data = ::operator new(size* static_cast<std::size_t>(stride), alignment);
  }
  ~Block() { ::operator delete(data, alignment); }
  Block(Block const&) = delete;
  Block& operator=(Block const&) = delete;

  [[nodiscard]] DLTensor tensor() {
    return {data,  {kDLCPU, 0},  static_cast<std::int32_t>(shape.size()),
            dtype, shape.data(), strides.data(),
            0};
  }
};

struct Memory {
  std::shared_ptr<Block> block;
};

template <class Managed>
void release(Managed* managed) {
  delete static_cast<std::shared_ptr<Block>*>(managed->manager_ctx);
  delete managed;
}

/// A capsule that nobody took is ours to delete.
template <class Managed>
nb::object capsule_of(Managed* managed, char const* name) {
  return nb::steal(PyCapsule_New(managed, name, [](PyObject* capsule) {
    char const* const now = PyCapsule_GetName(capsule);
    if (now == nullptr || std::string_view(now).rfind("used_", 0) == 0) return;
    release(static_cast<Managed*>(PyCapsule_GetPointer(capsule, now)));
  }));
}

nb::object dlpack(Memory& memory, nb::object max_version) {
  auto* const owner = new std::shared_ptr<Block>(memory.block);
  bool const versioned = !max_version.is_none() && nb::cast<int>(max_version[0]) >= 1;
  if (!versioned) {
    auto* const managed =
        new DLManagedTensor{memory.block->tensor(), owner, &release<DLManagedTensor>};
    return capsule_of(managed, "dltensor");
  }
  auto* const managed = new DLManagedTensorVersioned{{1, DLPACK_MINOR_VERSION},
                                                     owner,
                                                     &release<DLManagedTensorVersioned>,
                                                     0,
                                                     memory.block->tensor()};
  return capsule_of(managed, "dltensor_versioned");
}

}  // namespace

bool is_memory(nb::handle object) { return nb::isinstance<Memory>(object); }

void bind_memory(nb::module_& module) {
  nb::class_<Memory>(module, "Memory")
      .def("__init__",
           [](Memory* self, nb::object shape, nb::object dtype) {
             new (self) Memory{std::make_shared<Block>(shape, dtype)};
           })
      .def(
          "__dlpack__",
          [](Memory& self, nb::object, nb::object max_version, nb::object, nb::object) {
            return dlpack(self, std::move(max_version));
          },
          nb::kw_only(), nb::arg("stream") = nb::none(), nb::arg("max_version") = nb::none(),
          nb::arg("dl_device") = nb::none(), nb::arg("copy") = nb::none())
      .def("__dlpack_device__",
           [](Memory const&) { return nb::make_tuple(static_cast<int>(kDLCPU), 0); });
}

}  // namespace mixfuse::python
