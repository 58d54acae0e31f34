package container_test

import "os"

const helperEnv = "CTOR_TEST_HELPER"

func helper(string) int { _ = os.Args; return 0 }
