#include "actors/engine/sample_graphs.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

uint64_t hash_of(const Firing& firing, uint64_t hash) {
  hash = mix64(hash, static_cast<uint64_t>(firing.step));
  hash = mix64(hash, static_cast<uint64_t>(firing.shard));
  return mix64(hash, static_cast<uint64_t>(firing.piece));
}

uint64_t hash_of(const TensorView& view, uint64_t hash) {
  for (int64_t i = 0; i < view.elements(); ++i) hash = mix64(hash, view.as<uint64_t>()[i]);
  return hash;
}

void fill(const TensorView& view, uint64_t hash) {
  for (int64_t i = 0; i < view.elements(); ++i) view.as<uint64_t>()[i] = mix64(hash, static_cast<uint64_t>(i));
}

void mix(const KernelArgs& args, Stream&) {
  uint64_t hash = hash_of(args.firing, args.key);
  hash = mix64(hash, static_cast<uint64_t>(args.firing.round));
  for (const TensorView& input : args.inputs) hash = hash_of(input, hash);
  const int64_t every = args.attrs->integer("every", 1);
  const bool first = args.firing.round % every == 0;
  for (size_t o = 0; o < args.outputs.size(); ++o) {
    const TensorView& output = args.outputs[o];
    fill(output, mix64(first ? hash : hash_of(output, hash), o));
  }
}

}  // namespace

KernelTable sample_kernels() {
  KernelTable kernels;
  kernels.add("mix", DeviceKind::cpu, mix);
  return kernels;
}

bool SampleSource::ready(int64_t) const { return asked_++ % (hesitation_ + 1) == hesitation_; }

void SampleSource::read(const Firing& firing, int32_t, const TensorView& out, std::string*) {
  fill(out, hash_of(firing, mix64(number_)));
}

}  // namespace troupe
