"""Rulers: PSNR, SSIM and the named protocols that the papers score by."""
