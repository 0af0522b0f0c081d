// Package compare measures what a wall costs: it runs one image with several
// contestants (Abode's isolations, docker, podman), taking turns, and tells
// what a start, a first answer and an idle container cost, and what the wall
// keeps apart. All of it goes through the Docker API; memory and CPU time are
// read from the host's /proc.
package compare
