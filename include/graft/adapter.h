// Adapters of a base model (LoRA and others), as Model::from_pretrained loads a folder of peft and training
// with `peft_type` makes them.
#pragma once
#include "graft/export.h"
#include "graft/model.h"

namespace graft {

// Adds the adapters' products to the weights: the model computes the same (in fp32 within 1e-5 of its
// logits), is as fast as one without adapters, and save_pretrained writes a whole model. Throws Error for a
// model without adapters, for one that is merged, and for one in training.
GRAFT_API void merge_adapter(Model& model);
// Takes them off again, with the rounding of an addition and a subtraction. Throws Error for a model that is
// not merged.
GRAFT_API void unmerge_adapter(Model& model);

}  // namespace graft
