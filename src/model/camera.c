#include "model/camera.h"

const char *const camera_auth_names[CAMERA_AUTH_COUNT] = {"auto", "none", "basic", "digest"};
