// SPDX-License-Identifier: GPL-2.0

#include <linux/io.h>
#include <linux/vmalloc.h>

void *ext_helper_ioremap_wc(phys_addr_t offset, size_t size)
{
	return (__force void *)ioremap_wc(offset, size);
}
EXPORT_SYMBOL_GPL(ext_helper_ioremap_wc);

void ext_helper_iounmap(void *addr)
{
	iounmap((void __iomem __force *)addr);
}
EXPORT_SYMBOL_GPL(ext_helper_iounmap);

/* NULL also where the kernel was built without it. */
void *ext_helper_vmap_pfn_wc(unsigned long *pfns, unsigned int count)
{
#ifdef CONFIG_VMAP_PFN
	return vmap_pfn(pfns, count, pgprot_writecombine(PAGE_KERNEL));
#else
	return NULL;
#endif
}
EXPORT_SYMBOL_GPL(ext_helper_vmap_pfn_wc);

void *ext_helper_vmap_pages(struct page **pages, unsigned int count)
{
	return vmap(pages, count, VM_MAP, PAGE_KERNEL);
}
EXPORT_SYMBOL_GPL(ext_helper_vmap_pages);

void ext_helper_vunmap(const void *addr)
{
	vunmap(addr);
}
EXPORT_SYMBOL_GPL(ext_helper_vunmap);
