// Package image is the class of containers.
package image
