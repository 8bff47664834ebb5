#include "handoff/protocol/frame_fault.h"

#include <limits>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

uint64_t SomeNumber(uint64_t was, std::mt19937_64& random) {
  switch (random() % 5) {
    case 0:
      return 0;
    case 1:
      return was + 1;
    case 2:
      return was - 1;
    case 3:
      return std::numeric_limits<uint64_t>::max();
    default:
      return random() >> random() % 64;
  }
}

void ChangeScalar(Message& message, const FieldDescriptor* field,
                  std::mt19937_64& random) {
  const Reflection& r = *message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
      return r.SetUInt32(&message, field,
                         static_cast<uint32_t>(
                             SomeNumber(r.GetUInt32(message, field), random)));
    case FieldDescriptor::CPPTYPE_UINT64:
      return r.SetUInt64(&message, field,
                         SomeNumber(r.GetUInt64(message, field), random));
    case FieldDescriptor::CPPTYPE_ENUM:
      return r.SetEnumValue(&message, field, static_cast<int>(random() % 30));
    case FieldDescriptor::CPPTYPE_BOOL:
      return r.SetBool(&message, field, !r.GetBool(message, field));
    case FieldDescriptor::CPPTYPE_STRING:
      return r.SetString(&message, field,
                         std::string(random() % 300, "a \n\xff"[random() % 4]));
    default:
      return r.ClearField(&message, field);
  }
}

// True where it has changed something.
bool ChangeRepeated(Message& message, const FieldDescriptor* field,
                    std::mt19937_64& random) {
  const Reflection& r = *message.GetReflection();
  const int size = r.FieldSize(message, field);
  if (random() % 3 == 0) {
    r.RemoveLast(&message, field);
    return true;
  }
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_UINT64) return false;
    r.AddUInt64(&message, field,
                SomeNumber(r.GetRepeatedUInt64(message, field, 0), random));
    return true;
  }
  Message& some = *r.MutableRepeatedMessage(&message, field,
                                            static_cast<int>(random() % size));
  if (random() % 3 == 0) {
    const std::string copy = some.SerializeAsString();
    return r.AddMessage(&message, field)->ParseFromString(copy);
  }
  ChangeSomeField(some, random);
  return true;
}

}  // namespace

const char* Name(FrameFault fault) {
  static const char* const names[kFrameFaults] = {
      "none",
      "dropped",
      "doubled",
      "bytes flipped",
      "a field changed",
      "another body",
      "another count",
      "one descriptor lost",
      "a descriptor described wrongly",
      "another descriptor"};
  return names[static_cast<int>(fault)];
}

void ChangeSomeField(Message& message, std::mt19937_64& random) {
  const Reflection& r = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  r.ListFields(message, &fields);
  if (fields.empty()) return;
  const FieldDescriptor* field = fields[random() % fields.size()];
  if (field->is_repeated() && ChangeRepeated(message, field, random)) return;
  if (field->is_repeated()) return r.ClearField(&message, field);
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return ChangeSomeField(*r.MutableMessage(&message, field), random);
  }
  ChangeScalar(message, field, random);
}

void ChangeBody(v1::Frame& frame, std::mt19937_64& random) {
  static const std::vector<NamedFrame>* const kFrames =
      new std::vector<NamedFrame>(EveryFrame());
  const uint64_t seq = frame.seq();
  const uint32_t count = frame.descriptor_count();
  const auto descriptors = frame.descriptors();
  frame = (*kFrames)[random() % kFrames->size()].frame;
  frame.set_seq(seq);
  frame.set_descriptor_count(count);
  *frame.mutable_descriptors() = descriptors;
}

void FlipSomeBytes(std::string& bytes, std::mt19937_64& random) {
  for (uint64_t left = 1 + random() % 3; left > 0; --left) {
    bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
  }
}

}  // namespace handoff
