package conform

import (
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

const aclQuery = "restype=container&comp=acl"

// policyXML is the body of Set Container ACL with policies given as id, access policy, id, access policy…
func policyXML(pairs ...string) []byte {
	var b strings.Builder
	b.WriteString("<SignedIdentifiers>")
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "<SignedIdentifier><Id>%s</Id><AccessPolicy>%s</AccessPolicy></SignedIdentifier>", pairs[i], pairs[i+1])
	}
	b.WriteString("</SignedIdentifiers>")
	return []byte(b.String())
}

// policies reads what Get Container ACL says, as "id start expiry permission; …".
func (w *wire) policies(c ref) string {
	w.Helper()
	root := w.xml(w.get(c, aclQuery).ok(200))
	if root.name != "SignedIdentifiers" {
		w.Fatalf("policies in <%s>", root.name)
	}
	var all []string
	for _, n := range root.children {
		p := n.child("AccessPolicy")
		all = append(all, strings.Join(strings.Fields(n.value("Id")+" "+p.value("Start")+" "+p.value("Expiry")+" "+p.value("Permission")), " "))
	}
	return strings.Join(all, "; ")
}

func getContainerACL(t T, env *Env) {
	w := env.wire(t)
	c := w.container()
	w.part("the reply", func(w *wire) {
		r := w.get(c, aclQuery).ok(200)
		w.exactly(r, "ETag", "Last-Modified", "Content-Type")
		w.equal("stamp", stampOf(r).etag, w.stamp(c).etag)
		w.equal("policies", w.policies(c), "")
		w.head(c, aclQuery).ok(200)
	})
	w.part("the lease is a condition", func(w *wire) {
		w.get(c, aclQuery).h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithContainerOperation")
		w.acquire(c, leaseA, -1).ok(201)
		w.get(c, aclQuery).ok(200)
		w.get(c, aclQuery).h("x-ms-lease-id", leaseA).ok(200)
		w.get(c, aclQuery).h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithContainerOperation")
	})
	w.get("/"+ref(env.unique()), aclQuery).fails("ContainerNotFound")
}

func setContainerACL(t T, env *Env) {
	w := env.wire(t)
	c := w.container()
	w.part("through the SDK", func(w *wire) {
		start, expiry := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)
		_, err := w.sdkContainer(c).SetAccessPolicy(ctx, &container.SetAccessPolicyOptions{ContainerACL: []*container.SignedIdentifier{
			{ID: to.Ptr("one"), AccessPolicy: &container.AccessPolicy{Start: &start, Expiry: &expiry, Permission: to.Ptr("rwl")}},
			{ID: to.Ptr("two"), AccessPolicy: &container.AccessPolicy{Permission: to.Ptr("r")}},
		}})
		w.must(err)
		got, err := w.sdkContainer(c).GetAccessPolicy(ctx, nil)
		w.must(err)
		if len(got.SignedIdentifiers) != 2 || !val(got.SignedIdentifiers[0].AccessPolicy.Start).Equal(start) ||
			!val(got.SignedIdentifiers[0].AccessPolicy.Expiry).Equal(expiry) || val(got.SignedIdentifiers[1].AccessPolicy.Permission) != "r" {
			w.Errorf("policies %+v", got.SignedIdentifiers)
		}
		w.equal("policies", w.policies(c), "one 2026-01-02T03:04:05.0000000Z 2036-01-02T03:04:05.0000000Z rwl; two r")
	})
	w.part("the reply, and what a change replaces", func(w *wire) {
		before := w.stamp(c)
		r := w.put(c, aclQuery).b(policyXML("a", "<Expiry>2036-01-01</Expiry>")).ok(200)
		w.exactly(r, "ETag", "Last-Modified")
		w.restamped("policies set", before, r, c)
		w.equal("policies", w.policies(c), "a 2036-01-01T00:00:00.0000000Z")
		w.put(c, "restype=container&comp=metadata").h("x-ms-meta-a", "1").ok(200)
		w.equal("policies after other changes", w.policies(c), "a 2036-01-01T00:00:00.0000000Z")
		w.put(c, aclQuery).ok(200)
		w.equal("policies after a change without a body", w.policies(c), "")
	})
	w.part("limits", func(w *wire) {
		w.put(c, aclQuery).b(policyXML("1", "", "2", "", "3", "", "4", "", "5", "")).ok(200)
		set := func(pairs ...string) *call { return w.put(c, aclQuery).b(policyXML(pairs...)) }
		set("1", "", "2", "", "3", "", "4", "", "5", "", "6", "").fails("InvalidXmlDocument") // [S]
		set(strings.Repeat("a", 65), "").fails("InvalidXmlDocument")
		set("", "").fails("InvalidXmlDocument")
		set("a", "", "a", "").fails("InvalidXmlDocument")
		set("a", "<Start>2026-01-01T00:00:00.123Z</Start>").fails("InvalidXmlDocument") // [S]
		set("a", "<Expiry>tomorrow</Expiry>").fails("InvalidXmlDocument")
		set("a", "<Permission>Z</Permission>").fails("InvalidXmlNodeValue")
		set("a", "<Other/>").fails("UnsupportedXmlNode")
		w.put(c, aclQuery).b([]byte("<Policies/>")).fails("InvalidXmlDocument")
		w.put(c, aclQuery).b(policyXML("a", "")).h("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==").fails("Md5Mismatch")
	})
	w.part("conditions and lease", func(w *wire) {
		w.put(c, aclQuery).h("If-Unmodified-Since", w.ago(time.Hour)).fails("ConditionNotMet")
		w.put(c, aclQuery).h("If-Modified-Since", w.ago(-time.Minute)).fails("ConditionNotMet")
		w.put(c, aclQuery).h("x-ms-lease-id", leaseA).fails("LeaseNotPresentWithContainerOperation")
		w.acquire(c, leaseA, -1).ok(201)
		w.put(c, aclQuery).h("x-ms-lease-id", leaseB).fails("LeaseIdMismatchWithContainerOperation")
		w.put(c, aclQuery).h("x-ms-lease-id", leaseA).ok(200)
		w.put(c, aclQuery).ok(200) // the lease protects against deletion only
	})
	w.put("/"+ref(env.unique()), aclQuery).fails("ContainerNotFound")
}

// publicAccess: what is private is nobody's, and what may be made public is read by everybody and written by nobody.
func publicAccess(t T, env *Env) {
	w := env.wire(t)
	w.part("where nothing may be public", func(w *wire) {
		c := w.container()
		w.put(c, aclQuery).h("x-ms-blob-public-access", "blob").fails("PublicAccessNotPermitted")
		w.put(c, aclQuery).h("x-ms-blob-public-access", "everybody").fails("InvalidHeaderValue")
		w.put("/"+ref(env.unique()), "restype=container").h("x-ms-blob-public-access", "container").fails("PublicAccessNotPermitted")
		w.headers(w.head(c, "restype=container").ok(200), "x-ms-blob-public-access", "-")
	})
	if env.PublicURL == "" {
		env.out = append(env.out, "where containers may be public")
		return
	}
	w.part("where containers may be public", func(w *wire) {
		open := &Env{URL: env.PublicURL, Account: env.Account, Key: env.Key, SecondKey: env.SecondKey, Clock: env.Clock, Seed: env.Seed + 1}
		defer open.Close()
		public := open.wire(w.T)
		b := w.pageBlob(page)
		data := fill(200, page)
		w.update(b, 0, data).ok(201)
		at := w.snapshot(b)
		c := b.container()
		for _, level := range []string{"", "blob", "container"} {
			w.part("level "+level, func(*wire) { publicLevel(public, b, at, level) })
		}
		// Made public, and then not where that may not be.
		public.put(c, aclQuery).h("x-ms-blob-public-access", "blob").ok(200)
		w.headers(w.get(c, aclQuery).ok(200), "x-ms-blob-public-access", "blob")
		w.get(b, "").leave("Authorization").fails("PublicAccessNotPermitted")
		w.put(b, "comp=metadata").leave("Authorization").fails("NoAuthenticationInformation")
		made := "/" + ref(open.unique())
		public.put(made, "restype=container").h("x-ms-blob-public-access", "container").ok(201)
		defer public.remove(made)
		public.get(made, "restype=container&comp=list").leave("Authorization").ok(200)
		if list := string(public.get("/", "comp=list").q("prefix", string(made[1:])).ok(200).body); !strings.Contains(list, "<PublicAccess>container</PublicAccess>") {
			w.Errorf("the list of containers does not show the level:\n%s", list)
		}
	})
}

// publicLevel sets a level and tries all that it gives, and does not.
func publicLevel(w *wire, b ref, at, level string) {
	c := b.container()
	set := w.put(c, aclQuery)
	if level != "" {
		set.h("x-ms-blob-public-access", level)
	}
	set.ok(200)
	shown := level
	if level == "" {
		shown = "-"
	}
	w.headers(w.get(c, aclQuery).ok(200), "x-ms-blob-public-access", shown)
	w.headers(w.head(c, "restype=container").ok(200), "x-ms-blob-public-access", shown)
	nobody := func(c *call) *call { return c.leave("Authorization", "x-ms-date") }
	refused := func(c *call) {
		w.Helper()
		nobody(c).fails("NoAuthenticationInformation")
	}
	try := func(public bool, request func() *call) {
		w.Helper()
		if !public {
			refused(request())
			return
		}
		nobody(request()).ok(200)
		nobody(request()).leave("x-ms-version").ok(200) // a browser
	}
	for _, query := range []string{"", "snapshot=" + at, "comp=metadata", "comp=pagelist", "comp=pagelist&prevsnapshot=" + at} {
		try(level != "", func() *call { return w.get(b, query) })
	}
	try(level != "", func() *call { return w.head(b, "") })
	for _, query := range []string{"restype=container&comp=list", "restype=container", "restype=container&comp=metadata"} {
		try(level == "container", func() *call { return w.get(c, query) })
	}
	refused(w.get("/", "comp=list"))
	refused(w.get(c, aclQuery))
	refused(w.get(c, "restype=account&comp=properties"))
	for _, write := range []*call{w.update(b, 0, fill(201, page)), w.create(b, page), w.clear(b, 0, page), w.delete(b, ""), w.put(b, "comp=snapshot"),
		w.put(b, "comp=metadata"), w.resize(b, page), w.acquire(b, leaseA, 15), w.create(c.blob("new"), page), w.put(c, aclQuery),
		w.put(c, "restype=container&comp=metadata"), w.delete(c, "restype=container"), w.acquire(c, leaseA, 15),
		w.put("/"+ref(w.env.unique()), "restype=container")} {
		refused(write)
	}
	if level != "" {
		nobody(w.get(c.blob("none"), "")).fails("BlobNotFound")
	}
}
