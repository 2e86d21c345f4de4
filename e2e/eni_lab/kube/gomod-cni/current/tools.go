//go:build tools

// Package tools pins what is built from other modules.
package tools

import _ "github.com/containernetworking/cni/cnitool"
