package reaper

import _ "embed"

//go:embed built/arm64
var program []byte
