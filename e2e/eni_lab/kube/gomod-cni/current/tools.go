//go:build tools

// Package tools names the CNI project's client, so that go.mod and go.sum pin it.
package tools

import _ "github.com/containernetworking/cni/cnitool"
