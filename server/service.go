package server

import (
	"pagevault/internal/azure/xmlbody"
)

// getServiceProperties: Get Blob Service Properties.
func (r *request) getServiceProperties() error {
	p, err := r.account.ServiceProperties()
	if err != nil {
		return err
	}
	r.begin(200)
	r.xml(func(dst []byte) []byte { return xmlbody.AppendServiceProperties(dst, &p) })
	return nil
}

// setServiceProperties: Set Blob Service Properties. What would switch on something nobody does is refused.
func (r *request) setServiceProperties() error {
	body, err := r.readXML()
	if err != nil {
		return err
	}
	update, err := xmlbody.ParseServiceProperties(body)
	if err != nil {
		return err
	}
	if err := update.CheckSupported(); err != nil {
		return err
	}
	if err := r.account.SetServiceProperties(&update); err != nil {
		return err
	}
	r.begin(202)
	return nil
}

// getAccountInformation: Get Account Information. It answers for names that do not exist, too.
func (r *request) getAccountInformation() error {
	r.begin(200)
	sku := "Standard_LRS"
	if r.account.Premium() {
		sku = "Premium_LRS" // its kind is StorageV2 too: the others are for block blobs and files
	}
	r.setString("x-ms-sku-name", sku)
	r.setString("x-ms-account-kind", "StorageV2")
	r.setString("x-ms-is-hns-enabled", "false")
	return nil
}
