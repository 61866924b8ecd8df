"""Sets our scores beside a published table: `python examples/reproduce_a_table.py Set5 2`.

The folder's name tells the test set. The untouched input of super-resolution is MATLAB's bicubic: its row must come out
as printed in the papers (33.66 dB on Set5 at scale 2 by their mean), which shows that the ruler is the same.
"""

from __future__ import annotations

import sys

import undegrade
from undegrade import api


def main(folder: str, scale: str = "2") -> None:
    """Scores, then every published table for this set and scale with our rows in it."""
    report = undegrade.evaluate("super_resolution", clean=folder, scale=int(scale))
    print(f"{folder} x{scale}: bicubic {report.mean['input_psnr']:.2f} dB, ours {report.mean['psnr']:.2f} dB")
    for table in api.published(report):
        print(f"\n{table.title} ({table.ruler})")
        for method, psnr, ssim in table.rows:
            figures = (f"{psnr:.2f}" if psnr else "-", f"{ssim:.4f}" if ssim else "-")
            print(f"  {method:<40}{figures[0]:>7}{figures[1]:>9}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except undegrade.UndegradeError as error:
        sys.exit(str(error))
