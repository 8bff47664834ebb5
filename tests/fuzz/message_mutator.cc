// Changes inputs as the messages that they are: a change of bytes mostly makes
// a length wrong, and then nothing is left of the input.

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "tests/fuzz/script.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace handoff {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Random = std::minstd_rand;

constexpr size_t kMaxMessages = 1'000;
constexpr size_t kMaxText = 300;

void CollectMessages(Message& message, std::vector<Message*>& all) {
  if (all.size() >= kMaxMessages) return;
  all.push_back(&message);
  const Reflection& r = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  r.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      CollectMessages(*r.MutableMessage(&message, field), all);
      continue;
    }
    for (int i = 0; i < r.FieldSize(message, field); ++i) {
      CollectMessages(*r.MutableRepeatedMessage(&message, field, i), all);
    }
  }
}

uint64_t SomeNumber(Random& random) {
  switch (random() % 4) {
    case 0:
      return std::numeric_limits<uint64_t>::max() >> random() % 64;
    case 1:
      return random();
    default:
      return random() % 8;
  }
}

std::string SomeText(const FieldDescriptor* field, Random& random) {
  static constexpr const char* kWords[] = {
      "", "chat", "config", "client", "status", "ledger", "\n", "--handoff=x"};
  if (random() % 2 == 0) return kWords[random() % std::size(kWords)];
  std::string text(kMaxText, 'x');
  text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()),
                               random() % kMaxText, kMaxText));
  // Anything else is no string of proto3, and no input.
  if (field->type() == FieldDescriptor::TYPE_STRING) {
    for (char& c : text) c &= 0x7f;
  }
  return text;
}

void SetScalar(Message& message, const FieldDescriptor* field, Random& random) {
  const Reflection& r = *message.GetReflection();
  const uint64_t number = SomeNumber(random);
  const bool add = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32: {
      const auto value = static_cast<uint32_t>(number);
      return add ? r.AddUInt32(&message, field, value)
                 : r.SetUInt32(&message, field, value);
    }
    case FieldDescriptor::CPPTYPE_UINT64:
      return add ? r.AddUInt64(&message, field, number)
                 : r.SetUInt64(&message, field, number);
    case FieldDescriptor::CPPTYPE_INT64:
      return r.SetInt64(&message, field, static_cast<int64_t>(number));
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      std::memcpy(&value, &number, sizeof(value));
      if (random() % 2 == 0) value = static_cast<double>(number);
      return r.SetDouble(&message, field, value);
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      return r.SetBool(&message, field, random() % 4 != 0);
    case FieldDescriptor::CPPTYPE_ENUM:
      return r.SetEnumValue(&message, field, static_cast<int>(random() % 26));
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string text = SomeText(field, random);
      return add ? r.AddString(&message, field, std::move(text))
                 : r.SetString(&message, field, std::move(text));
    }
    default:
      return;
  }
}

void ChangeRepeated(Message& message, const FieldDescriptor* field,
                    Random& random) {
  const Reflection& r = *message.GetReflection();
  const int size = r.FieldSize(message, field);
  const int some = size == 0 ? 0 : static_cast<int>(random() % size);
  const auto kind = size == 0 ? 0 : random() % 4;
  if (kind == 1) {
    r.SwapElements(&message, field, some, size - 1);
    r.RemoveLast(&message, field);
  } else if (kind == 2) {
    r.SwapElements(&message, field, some, static_cast<int>(random() % size));
  } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    SetScalar(message, field, random);
  } else {
    // A new one, empty or like another, in some place.
    Message* added = r.AddMessage(&message, field);
    if (kind == 3) {
      added->CopyFrom(r.GetRepeatedMessage(message, field, some));
    }
    r.SwapElements(&message, field, some, size);
  }
}

void Change(Message& input, Random& random) {
  std::vector<Message*> all;
  CollectMessages(input, all);
  // The order of events matters as much as what is in them.
  Message& message = random() % 2 == 0 ? input : *all[random() % all.size()];
  const Reflection& r = *message.GetReflection();
  const int fields = message.GetDescriptor()->field_count();
  if (fields == 0) return;
  const FieldDescriptor* field =
      message.GetDescriptor()->field(static_cast<int>(random() % fields));
  if (field->is_repeated()) {
    ChangeRepeated(message, field, random);
  } else if (random() % 8 == 0) {
    r.ClearField(&message, field);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    r.MutableMessage(&message, field);
  } else {
    SetScalar(message, field, random);
  }
}

}  // namespace
}  // namespace handoff

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned seed) {
  handoff::Random random(seed);
  const std::unique_ptr<google::protobuf::Message> input = handoff::NewInput();
  if (random() % 4 == 0 || !handoff::ReadInput(data, size, *input)) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  for (auto left = 1 + random() % 4; left > 0; --left) {
    handoff::Change(*input, random);
  }
  const std::string bytes = input->SerializeAsString();
  if (bytes.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(bytes.begin(), bytes.end(), data);
  return bytes.size();
}
