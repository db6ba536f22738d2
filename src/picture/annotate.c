#include "base/macros.h"
