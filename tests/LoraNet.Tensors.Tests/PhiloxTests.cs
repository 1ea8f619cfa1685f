namespace LoraNet.Tensors.Tests;

public class PhiloxTests
{
    // Known-answer vectors that the Random123 authors publish for philox4x32 with 10 rounds.
    [Theory]
    [InlineData(0u, 0u, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Block_matches_the_published_vectors(
        uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint w0, uint w1, uint w2, uint w3)
    {
        Assert.Equal((w0, w1, w2, w3), Philox.Block(c0, c1, c2, c3, k0, k1));
    }

    [Fact]
    public void A_word_is_laid_out_as_the_dropout_key_says()
    {
        DropoutKey key = new(0x0123456789abcdef, 7);
        long row = 0x1_0000_0002;
        (uint w0, uint w1, uint w2, uint w3) = Philox.Block(3, 2, 1, 7, 0x89abcdef, 0x01234567);
        Assert.Equal([w0, w1, w2, w3], new[] { 12, 13, 14, 15 }.Select(column => Philox.Word(key, row, column)));
    }

    [Fact]
    public void Threshold_is_the_share_of_words_that_drop()
    {
        Assert.Equal(0UL, Philox.Threshold(0));
        Assert.Equal(1UL << 31, Philox.Threshold(0.5f));
        Assert.Equal(1UL << 32, Philox.Threshold(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => Philox.Threshold(float.NaN));
        Assert.Throws<ArgumentOutOfRangeException>(() => Philox.Threshold(-0.1f));
    }
}
