package networking

import (
	"testing"

	"proa/apis/kind/kindtest"
)

func TestIngress(t *testing.T)       { kindtest.Run(t, Ingress(), "testdata/ingress") }
func TestIngressClass(t *testing.T)  { kindtest.Run(t, IngressClass(), "testdata/ingressclass") }
func TestIPAddress(t *testing.T)     { kindtest.Run(t, IPAddress(), "testdata/ipaddress") }
func TestNetworkPolicy(t *testing.T) { kindtest.Run(t, NetworkPolicy(), "testdata/networkpolicy") }
func TestServiceCIDR(t *testing.T)   { kindtest.Run(t, ServiceCIDR(), "testdata/servicecidr") }
