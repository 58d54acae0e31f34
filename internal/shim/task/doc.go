// Package task is the shim's service: containerd's task API for any number of
// containers, over an Executor that makes them. It owns what a container needs
// besides: the mount of its root file system, its streams, the wait for its
// processes, and the events that tell of them.
package task
