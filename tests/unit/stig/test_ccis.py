"""The CCIs of the requirements are DISA's: those below were read in its SRG for operating systems, V3R2, one by one."""

from stig.rules import Catalogue

# The first number of a requirement, and the number of its CCI. Requirements that share the first number share the CCI.
READ = {
    1: 15, 2: 16, 4: 18, 21: 44, 23: 48, 24: 50, 27: 54, 28: 56, 29: 57, 30: 57, 31: 60, 32: 67, 33: 68, 37: 130, 38: 131,
    39: 132, 40: 133, 41: 134, 42: 135, 46: 139, 51: 154, 54: 158, 55: 159, 57: 162, 58: 163, 59: 164, 62: 169, 63: 171,
    64: 172, 66: 185, 67: 186, 68: 187, 69: 4066, 70: 4066, 71: 4066, 72: 4066, 73: 4062, 74: 197, 75: 4066, 76: 4066,
    78: 4066, 79: 206, 80: 213, 95: 381, 96: 382, 104: 764, 105: 765, 106: 766, 107: 765, 108: 766, 109: 4045, 112: 1941,
    113: 1941, 114: 778, 118: 3627, 120: 803, 121: 804, 122: 1876, 123: 1682, 125: 877, 132: 1082, 134: 1084, 138: 1090,
    142: 1095, 163: 1133, 349: 1877, 350: 1878, 351: 1879, 352: 1880, 353: 1881, 354: 1882, 363: 1744, 364: 1813, 365: 3938,
    366: 3992, 368: 1764, 439: 2605, 590: 3628, 690: 3959, 705: 4047, 710: 4061, 720: 4063, 725: 4064, 730: 4065, 745: 4083,
    755: 4188, 775: 4909, 780: 4910, 785: 4922,
}  # fmt: skip


def test_a_requirement_has_the_cci_that_the_srg_gives_it(catalogue: Catalogue) -> None:
    """And no other beside it."""
    found = {one.id: one.cci for one in catalogue.chapter("GPOS").requirements if int(one.id[7:13]) in READ}
    assert {int(name[7:13]) for name in found} == READ.keys()
    assert found == {name: (f"CCI-{READ[int(name[7:13])]:06}",) for name in found}
