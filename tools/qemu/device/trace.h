#include "trace/trace-hw_misc_hlrs.h"
