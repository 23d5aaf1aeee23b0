// SPDX-License-Identifier: Apache-2.0
#include "host/python/tensor.hpp"

#include <nanobind/stl/string.h>

#include <optional>
#include <unordered_map>
#include <utility>

#include "host/check.hpp"

namespace mixfuse::python {

/// As the standard lays it out; what follows the header only if its major version is 1.
struct ExchangeApi {
  struct Header {
    DLPackVersion version;
    Header const* previous;
  } header;
  int (*allocate)(DLTensor*, DLManagedTensorVersioned**, void*,
                  void (*)(void*, char const*, char const*));
  int (*managed_from_object)(void* object, DLManagedTensorVersioned** tensor);
  int (*managed_to_object)(DLManagedTensorVersioned* tensor, void** object);
  int (*tensor_from_object)(void* object, DLTensor* tensor);  // may be null
  int (*current_stream)(DLDeviceType type, std::int32_t id, void** stream);
};

namespace {

/// What is known of a type from its first tensor on; such types are few and stay.
struct Kind {
  ExchangeApi const* api;
  bool immutable;  // JAX's arrays, which cannot say so
};

constexpr std::uint32_t major_version = 1;
constexpr std::uint64_t read_only = DLPACK_FLAG_BITMASK_READ_ONLY;
constexpr std::uint64_t is_copied = DLPACK_FLAG_BITMASK_IS_COPIED;

std::string type_of(nb::handle object) { return nb::type_name(object.type()).c_str(); }

nb::builtin_exception wrong_type(std::string const& text) { return nb::type_error(text.c_str()); }

bool is_cuda(DLDevice device) {
  return device.device_type == kDLCUDA || device.device_type == kDLCUDAManaged;
}

/// The attribute, or nothing.
nb::object find(nb::handle object, char const* name) {
  return nb::getattr(object, name, nb::object());
}

/// A module that somebody has loaded, or nothing.
nb::object loaded(char const* name) {
  nb::dict const modules = nb::module_::import_("sys").attr("modules");
  nb::object const module = modules.attr("get")(name);
  return module.is_none() ? nb::object() : module;
}

/// Runs `hand_out`, in which a producer hands out its tensor; what it raises is told under the
/// argument's name, without the producer's stack.
template <class HandOut>
void asked(char const* name, HandOut const& hand_out) {
  try {
    hand_out();
  } catch (nb::python_error& error) {
    for (PyObject* const kind : {PyExc_BufferError, PyExc_ValueError, PyExc_TypeError,
                                 PyExc_NotImplementedError, PyExc_RuntimeError}) {
      if (!error.matches(kind)) continue;
      std::string const text = nb::cast<std::string>(nb::str(error.value()));
      nb::raise_from(error, kind, "%s: %s", name, text.substr(0, text.find('\n')).c_str());
    }
    throw;
  }
}

/// Calls `attempt` and tells whether it raised a TypeError, which means: not these arguments.
template <class Attempt>
bool is_refused(Attempt const& attempt) {
  try {
    attempt();
    return false;
  } catch (nb::python_error const& error) {
    if (!error.matches(PyExc_TypeError)) throw;
    return true;
  }
}

nb::object capsule_of(nb::handle object, nb::object const& stream) {
  // PyTorch before 2.10 hands out none that requires grad; what is lost by that, callers ask first.
  nb::object const grad = find(object, "requires_grad");
  nb::object const method = grad.is_valid() && nb::cast<bool>(nb::bool_(grad))
                                ? object.attr("detach")().attr("__dlpack__")
                                : object.attr("__dlpack__");
  nb::object capsule;
  if (is_refused([&] {
        capsule = method(nb::arg("stream") = stream, nb::arg("max_version") = nb::make_tuple(1, 3));
      }) &&
      is_refused([&] { capsule = method(nb::arg("stream") = stream); })) {
    capsule = method();
  }
  return capsule;
}

/// Of TensorFlow before it had __dlpack__; nothing for everybody else.
nb::object tensorflow_capsule(nb::handle object) {
  nb::object const tensorflow =
      framework_of(object) == "tensorflow" ? loaded("tensorflow") : nb::object();
  if (!tensorflow.is_valid()) return tensorflow;
  return tensorflow.attr("experimental").attr("dlpack").attr("to_dlpack")(object);
}

/// None where the object has no such method.
std::optional<DLDevice> device_of(nb::handle object) {
  nb::object const method = find(object, "__dlpack_device__");
  if (!method.is_valid()) return {};
  nb::object const pair = method();
  return DLDevice{static_cast<DLDeviceType>(nb::cast<int>(nb::int_(pair[0]))),
                  nb::cast<std::int32_t>(nb::int_(pair[1]))};
}

std::uintptr_t address_of(nb::handle value) {
  if (nb::isinstance<nb::bool_>(value) || !nb::isinstance<nb::int_>(value)) {
    throw wrong_type(message("stream: ", type_of(value), ", expected an int, or an object with ",
                             "__cuda_stream__, cuda_stream or ptr"));
  }
  std::uintptr_t address = 0;
  if (!nb::try_cast(value, address)) {
    throw invalid_argument(
        message("stream: ", nb::repr(value).c_str(), ", expected the address of a stream"));
  }
  return address == 1 ? 0 : address;  // the legacy default stream has two names
}

std::uintptr_t given_stream(nb::handle given) {
  if (nb::object const method = find(given, "__cuda_stream__"); method.is_valid()) {
    return address_of(nb::object(method()[1]));
  }
  for (char const* const name : {"cuda_stream", "ptr"}) {
    if (nb::object const value = find(given, name); value.is_valid()) return address_of(value);
  }
  return address_of(given);
}

/// CuPy's older versions know the current device only.
nb::object cupy_stream(nb::handle cupy, std::int32_t device) {
  nb::object const current = cupy.attr("cuda").attr("get_current_stream");
  nb::object stream;
  if (is_refused([&] { stream = current(device); })) stream = current();
  return stream;
}

ExchangeApi const* exchange_api_of(nb::handle type) {
  nb::object const capsule = find(type, "__dlpack_c_exchange_api__");
  if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) return nullptr;
  auto const* header = static_cast<ExchangeApi::Header const*>(
      PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  while (header != nullptr && header->version.major != major_version) header = header->previous;
  return reinterpret_cast<ExchangeApi const*>(header);
}

/// Guarded by the GIL.
Kind const& kind_of(nb::handle object) {
  static auto* const kinds = new std::unordered_map<PyObject*, Kind>;
  nb::handle const type = object.type();
  auto const known = kinds->find(type.ptr());
  if (known != kinds->end()) return known->second;
  std::string const framework = framework_of(object);
  Kind const kind{exchange_api_of(type), framework == "jax" || framework == "jaxlib"};
  type.inc_ref();  // no other type will have this address
  return kinds->emplace(type.ptr(), kind).first->second;
}

}  // namespace

std::string framework_of(nb::handle object) {
  std::string const module = nb::cast<std::string>(nb::str(object.type().attr("__module__")));
  return module.substr(0, module.find('.'));
}

std::uintptr_t stream_of(nb::handle given, nb::handle tensor, DLDevice device) {
  if (!is_cuda(device)) {
    require(given.is_none(), "stream: given, but the tensors are in host memory");
    return 0;
  }
  if (!given.is_none()) return given_stream(given);
  if (ExchangeApi const* const api = kind_of(tensor).api) {
    void* stream = nullptr;
    if (api->current_stream(kDLCUDA, device.device_id, &stream) != 0) throw nb::python_error();
    return reinterpret_cast<std::uintptr_t>(stream);
  }
  std::string const framework = framework_of(tensor);
  if (framework == "torch") {
    if (nb::object const torch = loaded("torch"); torch.is_valid()) {
      return given_stream(torch.attr("cuda").attr("current_stream")(device.device_id));
    }
  } else if (framework == "cupy") {
    if (nb::object const cupy = loaded("cupy"); cupy.is_valid()) {
      return given_stream(cupy_stream(cupy, device.device_id));
    }
  }
  return 0;
}

Borrowed::Borrowed(char const* name, nb::handle object, Use use)
    : name_{name}, object_{object}, use_{use} {
  if (PyCapsule_CheckExact(object.ptr())) {
    take(object);
    return;
  }
  Kind const& kind = kind_of(object);
  if (use == Use::write && kind.immutable) {
    throw wrong_type(
        message(name, ": a JAX array, which is immutable; expected a tensor to write"));
  }
  ExchangeApi const* const api = kind.api;
  if (api == nullptr) {
    if (std::optional<DLDevice> const device = device_of(object)) {
      device_ = *device;
    } else if (nb::object const capsule = tensorflow_capsule(object); capsule.is_valid()) {
      take(capsule);
    } else {
      throw wrong_type(message(name, ": ", type_of(object),
                               framework_of(object) == "jax"
                                   ? ", expected mixfuse.jax.mix where JAX traces"
                                   : ", expected a tensor with __dlpack__ and __dlpack_device__"));
    }
    return;
  }
  asked(name, [&] {
    if (use == Use::read && api->tensor_from_object != nullptr) {
      if (api->tensor_from_object(object.ptr(), &lent_) != 0) throw nb::python_error();
      tensor_ = &lent_;
    } else {
      if (api->managed_from_object(object.ptr(), &versioned_) != 0) throw nb::python_error();
      tensor_ = &versioned_->dl_tensor;
    }
  });
  device_ = tensor_->device;
}

Borrowed::Borrowed(Borrowed&& other) noexcept
    : name_{other.name_},
      object_{other.object_},
      use_{other.use_},
      device_{other.device_},
      lent_{other.lent_},
      tensor_{other.tensor_ == &other.lent_ ? &lent_ : other.tensor_},
      legacy_{std::exchange(other.legacy_, nullptr)},
      versioned_{std::exchange(other.versioned_, nullptr)} {}

Borrowed::~Borrowed() {
  if (legacy_ != nullptr && legacy_->deleter != nullptr) legacy_->deleter(legacy_);
  if (versioned_ != nullptr && versioned_->deleter != nullptr) versioned_->deleter(versioned_);
}

/// From here on the tensor is ours to delete, whatever happens: nobody else will.
void Borrowed::take(nb::handle capsule) {
  PyObject* const object = capsule.ptr();
  if (PyCapsule_IsValid(object, "dltensor_versioned")) {
    versioned_ =
        static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(object, "dltensor_versioned"));
    PyCapsule_SetName(object, "used_dltensor_versioned");
    if (versioned_->version.major != major_version) {
      unsupported const error(message(name_, ": DLPack ", versioned_->version.major, ".",
                                      versioned_->version.minor, ", expected 1.x"));
      // Of an unknown version nothing but the deleter may be touched.
      if (versioned_->deleter != nullptr) versioned_->deleter(versioned_);
      versioned_ = nullptr;
      throw error;
    }
    tensor_ = &versioned_->dl_tensor;
  } else if (PyCapsule_IsValid(object, "dltensor")) {
    legacy_ = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(object, "dltensor"));
    PyCapsule_SetName(object, "used_dltensor");
    tensor_ = &legacy_->dl_tensor;
  } else {
    char const* const found = PyCapsule_CheckExact(object) ? PyCapsule_GetName(object) : nullptr;
    require(found == nullptr || std::string(found).rfind("used_", 0) != 0, name_,
            ": a capsule that was used before");
    throw wrong_type(
        message(name_, ": ", found ? found : type_of(capsule), ", expected a capsule of DLPack"));
  }
  device_ = tensor_->device;
}

/// Asks the producer, who makes the data safe on the stream.
void Borrowed::ask(std::uintptr_t stream) {
  constexpr std::uintptr_t legacy_default = 1;  // 0 is not allowed
  nb::object const argument = is_cuda(device_)
                                  ? nb::object(nb::int_(stream == 0 ? legacy_default : stream))
                                  : nb::object(nb::none());
  nb::object capsule;
  asked(name_, [&] { capsule = capsule_of(object_, argument); });
  take(capsule);
}

TensorView Borrowed::open(std::uintptr_t stream, Layout layout) {
  if (tensor_ == nullptr) ask(stream);
  if (use_ == Use::write && versioned_ != nullptr) {
    require((versioned_->flags & read_only) == 0, name_, ": read-only, expected to be written");
    require((versioned_->flags & is_copied) == 0, name_,
            ": its producer hands out a copy, expected the tensor's own memory");
  }
  return from_dlpack(name_, *tensor_, layout);
}

}  // namespace mixfuse::python
