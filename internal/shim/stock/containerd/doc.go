// Package containerd is a go.mod: it pins the containerd that the stock tests
// compile and have run the shim. It is a module of its own, since the daemon
// needs some three hundred modules that ctor does not.
package containerd
