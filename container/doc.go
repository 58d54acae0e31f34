// Package container runs instances of images.
package container
