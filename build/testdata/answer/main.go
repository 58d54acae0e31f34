// Answer is a program that needs nothing, for whatever processor it is compiled for.
package main

import "runtime"

func main() { println(runtime.GOARCH) }
