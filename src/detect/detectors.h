#pragma once
/* The implementations, for registry.c and the contract suite. */

#include "detect/detector.h"

#if HAVE_ONNXRUNTIME
extern const struct detector_ops detector_local;
#endif
