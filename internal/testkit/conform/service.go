package conform

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// The elements of a listed container's properties, in their order. LeaseDuration stands after LeaseState while leased.
const listedContainerProperties = "Last-Modified Etag LeaseStatus LeaseState DefaultEncryptionScope " +
	"DenyEncryptionScopeOverride HasImmutabilityPolicy HasLegalHold ImmutableStorageWithVersioningEnabled"

func listContainers(t T, env *Env) {
	w := env.wire(t)
	prefix := env.unique() + "-"
	var containers []ref
	for _, name := range []string{"b", "a", "c"} {
		c := ref("/" + prefix + name)
		w.put(c, "restype=container").h("x-ms-meta-Which", name).ok(201)
		w.Cleanup(func() { w.remove(c) })
		containers = append(containers, c)
	}
	w.part("through the SDK", func(w *wire) { listContainersSDK(w, prefix) })
	w.part("the document", func(w *wire) { listContainersDocument(w, prefix, containers[1]) })
	w.part("paging", func(w *wire) {
		list := func(more string) *node { return w.xml(w.get("/", "comp=list&prefix="+prefix+more).ok(200)) }
		names := ""
		for marker, pages := "", 0; pages == 0 || marker != ""; pages++ {
			root := list("&maxresults=1&marker=" + marker)
			for _, c := range root.child("Containers").children {
				names += c.value("Name") + " "
			}
			if marker = root.value("NextMarker"); pages > 3 {
				w.Fatalf("no end: %s", names)
			}
		}
		w.equal("containers one by one", names, prefix+"a "+prefix+"b "+prefix+"c ")
		// More than the service gives at once behaves as what it gives.
		w.equal("with maxresults=5001", list("&maxresults=5001").value("NextMarker"), "")
	})
	w.part("addresses", func(w *wire) {
		for _, r := range []ref{"", "/"} { // with and without the slash after the account [A]
			root := w.xml(w.get(r, "comp=list&prefix="+prefix).ok(200))
			w.equal("containers", fmt.Sprint(len(root.child("Containers").children)), "3")
		}
		root := w.xml(w.get("/", "comp=list&prefix="+env.unique()).ok(200))
		w.equal("an empty list", root.names(), "Prefix Containers NextMarker")
	})
	w.part("include", func(w *wire) {
		for _, query := range []string{"&include=metadata", "&include=METADATA", "&include=system%2Cmetadata",
			"&include=deleted,metadata", "&include=system&include=metadata"} {
			root := w.xml(w.get("/", "comp=list&prefix="+prefix+query).ok(200))
			for _, c := range root.child("Containers").children {
				w.equal("metadata with "+query, c.value("Metadata", "Which"), strings.TrimPrefix(c.value("Name"), prefix))
			}
		}
		for _, query := range []string{"", "&include=", "&include=system"} {
			root := w.xml(w.get("/", "comp=list&prefix="+prefix+query).ok(200))
			if root.child("Containers", "Container", "Metadata") != nil {
				w.Errorf("metadata unasked with %q", query)
			}
		}
	})
	w.part("errors", func(w *wire) {
		for _, n := range []string{"0", "-1"} {
			w.get("/", "comp=list&maxresults="+n).
				fails("OutOfRangeQueryParameterValue", "QueryParameterName", "maxresults", "QueryParameterValue", n)
		}
		w.get("/", "comp=list&maxresults=many").
			failsAny([]string{"InvalidQueryParameterValue", "OutOfRangeQueryParameterValue"}, "QueryParameterName", "maxresults")
	})
}

func listContainersSDK(w *wire, prefix string) {
	pager := w.sdk().NewListContainersPager(&service.ListContainersOptions{Prefix: &prefix, MaxResults: to.Ptr[int32](2),
		Include: service.ListContainersInclude{Metadata: true}})
	var names []string
	pages := 0
	for ; pager.More(); pages++ {
		p, err := pager.NextPage(ctx)
		w.must(err)
		for _, c := range p.ContainerItems {
			names = append(names, val(c.Name))
			// The SDK has the names in lower case here.
			w.equal("metadata of "+val(c.Name), val(c.Metadata["which"]), strings.TrimPrefix(val(c.Name), prefix))
			w.equal("state of "+val(c.Name), string(val(c.Properties.LeaseState)), "available")
		}
	}
	if want := []string{prefix + "a", prefix + "b", prefix + "c"}; !slices.Equal(names, want) || pages != 2 {
		w.Errorf("%d pages of %v, want 2 of %v", pages, names, want)
	}
}

func listContainersDocument(w *wire, prefix string, a ref) {
	r := w.get("/", "comp=list&maxresults=1&include=metadata&prefix="+prefix).ok(200)
	w.headers(r, "Content-Type", "application/xml")
	root := w.xml(r)
	w.equal("root", root.name, "EnumerationResults")
	w.equal("ServiceEndpoint", root.attr("ServiceEndpoint"), w.env.URL+"/"+w.env.Account+"/")
	w.equal("children of the root", root.names(), "Prefix MaxResults Containers NextMarker")
	w.equal("Prefix", root.value("Prefix"), prefix)
	w.equal("MaxResults", root.value("MaxResults"), "1")
	c := root.child("Containers", "Container")
	w.equal("children of a container", c.names(), "Name Properties Metadata")
	p := c.child("Properties")
	w.equal("properties", p.names(), listedContainerProperties)
	s := w.stamp(a)
	w.equal("Etag", p.value("Etag"), s.etag) // quoted in this listing [K]
	w.equal("Last-Modified", p.value("Last-Modified"), s.modified)
	w.equal("lease", p.value("LeaseStatus")+" "+p.value("LeaseState"), "unlocked available")
	w.equal("DefaultEncryptionScope", p.value("DefaultEncryptionScope"), "$account-encryption-key")
	for _, flag := range []string{"DenyEncryptionScopeOverride", "HasImmutabilityPolicy", "HasLegalHold",
		"ImmutableStorageWithVersioningEnabled"} {
		w.equal(flag, p.value(flag), "false")
	}
	w.acquire(a, leaseA, -1).ok(201)
	p = w.xml(w.get("/", "comp=list&maxresults=1&prefix="+prefix).ok(200)).child("Containers", "Container", "Properties")
	w.equal("leased", p.value("LeaseStatus")+" "+p.value("LeaseState")+" "+p.value("LeaseDuration"), "locked leased infinite")
	w.equal("properties while leased", p.names(),
		strings.Replace(listedContainerProperties, "LeaseState", "LeaseState LeaseDuration", 1))
	w.lease(a, "release").h("x-ms-lease-id", leaseA).ok(200)
}

// serviceProperties reads the properties of the service.
func serviceProperties(w *wire) *node {
	w.Helper()
	return w.xml(w.get("/", "restype=service&comp=properties").ok(200))
}

func getServiceProperties(t T, env *Env) {
	w := env.wire(t)
	got, err := w.sdk().GetProperties(ctx, nil)
	w.must(err)
	if got.Logging == nil || got.HourMetrics == nil || got.MinuteMetrics == nil || got.DeleteRetentionPolicy == nil ||
		got.StaticWebsite == nil {
		w.Errorf("the SDK misses some properties: %+v", got.StorageServiceProperties)
	}
	for _, r := range []ref{"", "/"} {
		r := w.get(r, "restype=service&comp=properties").ok(200)
		w.headers(r, "Content-Type", "application/xml")
		root := w.xml(r)
		w.equal("root", root.name, "StorageServiceProperties")
		for _, name := range []string{"Logging", "HourMetrics", "MinuteMetrics", "Cors", "DeleteRetentionPolicy", "StaticWebsite"} {
			if root.child(name) == nil {
				w.Errorf("no <%s>: all properties come with their defaults:\n%v", name, r)
			}
		}
		w.equal("logging", root.child("Logging").names(), "Version Delete Read Write RetentionPolicy")
	}
}

// setProperties is Set Blob Service Properties with a document.
func (w *wire) setProperties(body string) *call {
	return w.put("/", "restype=service&comp=properties").h("Content-Type", "application/xml").b([]byte(body))
}

// propertiesOf is a document with these elements.
func propertiesOf(elements string) string {
	return "<StorageServiceProperties>" + elements + "</StorageServiceProperties>"
}

func setServiceProperties(t T, env *Env) {
	w := env.wire(t)
	before := serviceProperties(w).value("DefaultServiceVersion")
	w.Cleanup(func() {
		w.setProperties(propertiesOf("<DefaultServiceVersion>" + before + "</DefaultServiceVersion>")).ok(202)
	})
	w.part("through the SDK", func(w *wire) {
		_, err := w.sdk().SetProperties(ctx, &service.SetPropertiesOptions{DefaultServiceVersion: to.Ptr("2020-10-02")})
		w.must(err)
		got, err := w.sdk().GetProperties(ctx, nil)
		w.must(err)
		w.equal("version", val(got.DefaultServiceVersion), "2020-10-02")
		_, err = w.sdk().SetProperties(ctx, &service.SetPropertiesOptions{StaticWebsite: &service.StaticWebsite{Enabled: to.Ptr(true)}})
		w.mustFail(err, "UnsupportedXmlNode")
	})
	w.part("soft delete", setRetentionProperties)
	w.part("what is absent stays", func(w *wire) {
		r := w.setProperties("\xEF\xBB\xBF  " + propertiesOf("\n<DefaultServiceVersion>2021-12-02</DefaultServiceVersion>")).ok(202)
		w.exactly(r)
		for _, other := range []string{"<Cors/>", "", "<DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>",
			"<StaticWebsite><Enabled>false</Enabled></StaticWebsite><Cors></Cors>"} {
			w.setProperties(propertiesOf(other)).ok(202)
			w.equal("version kept", serviceProperties(w).value("DefaultServiceVersion"), "2021-12-02")
		}
		// What was read can be written back, as tools do to change one part.
		whole := w.get("/", "restype=service&comp=properties").ok(200).body
		w.setProperties(string(whole)).ok(202)
		w.same("read again", w.get("/", "restype=service&comp=properties").ok(200).body, whole)
	})
	w.part("the default version", func(w *wire) {
		w.setProperties(propertiesOf("<DefaultServiceVersion>2020-10-02</DefaultServiceVersion>")).ok(202)
		w.headers(w.get("/", "comp=list").leave("x-ms-version").ok(200), "x-ms-version", "2020-10-02")
		w.headers(w.get("/", "comp=list").ok(200), "x-ms-version", version)
		w.setProperties(propertiesOf("<DefaultServiceVersion></DefaultServiceVersion>")).ok(202)
		w.get("/", "comp=list").leave("x-ms-version").fails("MissingRequiredHeader", "HeaderName", "x-ms-version")
	})
	w.part("errors", setServicePropertiesErrors)
	w.part("what nobody carries out", func(w *wire) {
		for name, on := range byKey(map[string]string{
			"Logging": "<Version>1.0</Version><Delete>true</Delete><Read>false</Read><Write>false</Write>" +
				"<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy>",
			"HourMetrics":   "<Version>1.0</Version><Enabled>true</Enabled><IncludeAPIs>false</IncludeAPIs>",
			"MinuteMetrics": "<Version>1.0</Version><Enabled>true</Enabled><IncludeAPIs>false</IncludeAPIs>",
			"StaticWebsite": "<Enabled>true</Enabled>",
			"Novelty":       "yes",
		}) {
			w.setProperties(propertiesOf("<"+name+">"+on+"</"+name+">")).fails("UnsupportedXmlNode", "XmlNodeName", name)
		}
	})
}

const corsRule = "<CorsRule><AllowedOrigins>*</AllowedOrigins><AllowedMethods>GET</AllowedMethods>" +
	"<MaxAgeInSeconds>1</MaxAgeInSeconds><ExposedHeaders/><AllowedHeaders/></CorsRule>"

func setServicePropertiesErrors(w *wire) {
	retention := func(s string) string { return propertiesOf("<DeleteRetentionPolicy>" + s + "</DeleteRetentionPolicy>") }
	for _, body := range []string{
		"", "x", "<StorageServiceProperties>", propertiesOf("") + "x", "<Other/>",
		`<!DOCTYPE x [<!ENTITY e "x">]>` + propertiesOf("<Cors/>"),
		retention("<Enabled>true</Enabled>"),                 // [S]
		retention("<Enabled>true</Enabled><Days>366</Days>"), // [S]
		retention("<Enabled>true</Enabled><Days>0</Days>"),   // either code [S]; this one is ours
		propertiesOf("<Cors>" + strings.Repeat(corsRule, 6) + "</Cors>"),
	} {
		w.setProperties(body).fails("InvalidXmlDocument")
	}
	w.setProperties(propertiesOf("")).h("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==").fails("Md5Mismatch")
	for _, body := range []string{retention("<Enabled>perhaps</Enabled>"), propertiesOf("<DefaultServiceVersion>soon</DefaultServiceVersion>"),
		propertiesOf("<Cors>" + strings.Replace(corsRule, "GET", "FETCH", 1) + "</Cors>")} {
		w.setProperties(body).fails("InvalidXmlNodeValue", "XmlNodeName", "*", "XmlNodeValue", "*")
	}
	w.setProperties(retention("<Days>7</Days>")).fails("MissingRequiredXmlNode", "XmlNodeName", "Enabled")
	w.setProperties(string(bytes.Repeat([]byte(" "), 64<<10))+propertiesOf("")).fails("RequestBodyTooLarge", "MaxLimit", "65536")
	w.setProperties("").leave("Content-Length").fails("MissingContentLengthHeader")
}

func getAccountInformation(t T, env *Env) {
	w := env.wire(t)
	container := w.container()
	w.part("through the SDK", func(w *wire) {
		info, err := w.sdk().GetAccountInfo(ctx, nil)
		w.must(err)
		w.equal("kind", string(val(info.AccountKind)), "StorageV2")
		ofContainer, err := w.sdkContainer(container).GetAccountInfo(ctx, nil)
		w.must(err)
		ofBlob, err := w.sdkPageBlob(container, "none").GetAccountInfo(ctx, nil)
		w.must(err)
		if val(ofContainer.SKUName) != val(info.SKUName) || val(ofBlob.SKUName) != val(info.SKUName) {
			w.Errorf("the kind of account depends on where one asks")
		}
	})
	// The resource need not exist.
	for _, r := range []ref{"", "/", container, container.blob("none"), "/none-such", "/none-such/none"} {
		for _, method := range []string{"GET", "HEAD"} {
			r := w.do(method, r, "restype=account&comp=properties").ok(200)
			w.exactly(r, "x-ms-sku-name", "x-ms-account-kind", "x-ms-is-hns-enabled")
			w.headers(r, "x-ms-is-hns-enabled", "false")
			if !slices.Contains([]string{"Standard_LRS", "Standard_ZRS"}, r.get("x-ms-sku-name")) || len(r.body) > 0 {
				w.Errorf("three copies and no body:\n%v", r)
			}
		}
	}
}
