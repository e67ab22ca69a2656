// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>
#include <linux/pgtable.h>

unsigned long ext_helper_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}
EXPORT_SYMBOL_GPL(ext_helper_page_to_pfn);

pgprot_t ext_helper_pgprot_decrypted(pgprot_t prot)
{
	return pgprot_decrypted(prot);
}
EXPORT_SYMBOL_GPL(ext_helper_pgprot_decrypted);

void ext_helper_vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vm_flags_set(vma, flags);
}
EXPORT_SYMBOL_GPL(ext_helper_vm_flags_set);

bool ext_helper_vma_is_cow_mapping(const struct vm_area_struct *vma)
{
	return vma_is_cow_mapping(vma);
}
EXPORT_SYMBOL_GPL(ext_helper_vma_is_cow_mapping);

unsigned long ext_helper_totalram_pages(void)
{
	return totalram_pages();
}
EXPORT_SYMBOL_GPL(ext_helper_totalram_pages);
