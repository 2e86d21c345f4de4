//go:build tools

// Package tools names the programs of upstream's test suite, so that go.mod and go.sum pin them.
package tools

import (
	_ "github.com/onsi/ginkgo/v2/ginkgo"
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/images/agnhost"
)
