package reaper

import _ "embed"

//go:embed built/amd64
var program []byte
