using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using LoraNet.Metrics.Texts;

namespace LoraNet.Tests.Metrics;

/// <summary>
/// Scores of texts against values of other programs on the same texts, run once: BLEU and NIST of pymteval (part of e2e-metrics), ROUGE-L and
/// CIDEr of the COCO caption scripts that e2e-metrics contains, METEOR and stems of NLTK 3.8 with the original Porter rules and an empty WordNet.
/// </summary>
public class TextMetricsTests
{
    private static readonly List<TextSegment> _segments =
    [
        Segment("The Eagle is a cheap coffee shop near Burger King .",
            "The Eagle is a low-priced coffee shop near the Burger King.", "Near Burger King there is a cheap coffee shop called The Eagle."),
        Segment("A family-friendly pub, rated 3.5 out of 5, serves 1,000 dishes.",
            "The pub is friendly for families; it is rated 3.5 out of 5 and it serves 1,000 dishes.",
            "Rated 3.5 of 5, this family-friendly pub serves a thousand dishes.", "A pub with a 3.5 rating."),
        Segment("It serves it serves French food by the river", "By the river, it serves French food."),
        Segment("Nothing alike whatsoever", "Blue Spice offers Italian meals.", "Italian meals are offered at Blue Spice (city centre)."),
        Segment("The ratings of the Cricketers are rising ; customers recommended it \"highly\".",
            "Customers highly recommend the Cricketers: its rating rises.", "The Cricketers' rating rose; it's recommended by customers."),
    ];

    private static List<TextSegment> WithFirstReferences => [.. _segments.Where((_, i) => i != 3).Select(s => s with { References = [s.References[0]] })];

    [Fact]
    public void BleuMatchesPymteval() => Assert.Equal(0.4153647025365838, Bleu.Compute(_segments), 12);

    [Fact]
    public void BleuOfOneReferenceEachMatchesNltk() => Assert.Equal(0.3142374609893974, Bleu.Compute(WithFirstReferences), 12);

    [Fact]
    public void NistMatchesPymteval() => Assert.Equal(4.684359914578041, Nist.Compute(_segments), 12);

    [Fact]
    public void NistOfOneReferenceEachMatchesNltk() => Assert.Equal(3.581923581379955, Nist.Compute(WithFirstReferences), 12);

    [Fact]
    public void RougeMatchesCocoCaption() => Assert.Equal(0.45832484328865064, RougeL.Compute(_segments), 12);

    [Fact]
    public void CiderMatchesCocoCaption() => Assert.Equal(2.5319530671677595, Cider.Compute(_segments), 12);

    [Fact]
    public void MeteorMatchesNltk()
    {
        double[] expected = [0.8387138429752066, 0.7715601539335056, 0.7687074829931974, 0, 0.556143445032334];
        Assert.All(_segments.Zip(expected), p => Assert.Equal(p.Second, Meteor.Compute([p.First]), 12));
        Assert.Equal(0.5870249849868487, Meteor.Compute(_segments), 12);
    }

    [Fact]
    public void StemsMatchNltk()
    {
        const string Words = "caresses ponies ties caress cats feed agreed plastered bled motoring sing conflated troubled sized hopping tanned falling hissing fizzed failing filing happy sky "
            + "relational conditional rational valenci hesitanci digitizer conformabli radicalli differentli vileli analogousli vietnamization predication operator feudalism decisiveness "
            + "hopefulness callousness formaliti sensitiviti sensibiliti triplicate formative formalize electriciti electrical hopeful goodness revival allowance inference airliner gyroscopic "
            + "adjustable defensible irritant replacement adjustment dependent adoption homologou communism activate angulariti homologous effective bowdlerize probate rate cease controll roll "
            + "generalizations oscillators";
        const string Stems = "caress poni ti caress cat feed agre plaster bled motor sing conflat troubl size hop tan fall hiss fizz fail file happi sky "
            + "relat condit ration valenc hesit digit conform radic differ vile analog vietnam predic oper feudal decis "
            + "hope callous formal sensit sensibl triplic form formal electr electr hope good reviv allow infer airlin gyroscop "
            + "adjust defens irrit replac adjust depend adopt homolog commun activ angular homolog effect bowdler probat rate ceas control roll "
            + "gener oscil";
        Assert.Equal(Stems.Split(' '), Words.Split(' ').Select(PorterStemmer.Stem));
    }

    [Theory]
    [InlineData("It costs £20-25, or 1,000.50 in all.", "it costs £20 - 25 , or 1,000.50 in all .")]
    [InlineData("a&amp;b &lt;x&gt; &quot;q&quot;", "a & b < x > \" q \"")]
    [InlineData("The Cricketers' half-price menu (5.)", "the cricketers' half-price menu ( 5 . )")]
    [InlineData("  ", "")]
    public void TokenizesAsMteval(string text, string words) => Assert.Equal(words, string.Join(' ', MtevalTokenizer.Tokenize(text)));

    [Fact]
    public void NothingWrittenScoresNothing()
    {
        List<TextSegment> empty = [.. _segments.Select(s => s with { Candidate = [] })];
        Assert.Equal(0, Bleu.Compute(empty));
        Assert.Equal(0, Nist.Compute(empty));
        Assert.Equal(0, RougeL.Compute(empty));
        Assert.Equal(0, Cider.Compute(empty));
        Assert.Equal(0, Meteor.Compute(empty));
    }

    [Fact]
    public void NoTextsAndNoReferencesAreRefused()
    {
        Assert.Throws<ArgumentException>(() => Bleu.Compute([]));
        Assert.Throws<ArgumentException>(() => Cider.Compute([new TextSegment(["a"], [])]));
    }

    /// <summary>A candidate that is its only reference scores the maximum, and more than any other candidate.</summary>
    [Property(MaxTest = 50)]
    public Property EqualTextsScoreTheMaximum() => Prop.ForAll(Texts(), texts =>
    {
        List<TextSegment> equal = [.. texts.Select(t => new TextSegment(t[0], [t[0]]))];
        List<TextSegment> other = [.. texts.Select(t => new TextSegment(t[1], [t[0]]))];
        Assert.Equal(1, Bleu.Compute(equal), 12);
        Assert.Equal(1, RougeL.Compute(equal), 12);
        Assert.Equal(equal.Average(s => 1 - 0.5 / Math.Pow(s.Candidate.Count, 3)), Meteor.Compute(equal), 12);
        Assert.InRange(Bleu.Compute(other), 0, 1);
        Assert.InRange(RougeL.Compute(other), 0, 1);
        Assert.True(Cider.Compute(other) <= Cider.Compute(equal) + 1e-9);
    });

    [Property(MaxTest = 50)]
    public Property OrderOfReferencesDoesNotMatter() => Prop.ForAll(Texts(), texts =>
    {
        List<TextSegment> forward = [.. texts.Select(t => new TextSegment(t[0], [.. t[1..]]))];
        List<TextSegment> backward = [.. texts.Select(t => new TextSegment(t[0], [.. t[1..].Reverse()]))];
        foreach (Func<IReadOnlyList<TextSegment>, double> score in new Func<IReadOnlyList<TextSegment>, double>[] { s => Bleu.Compute(s), Nist.Compute, RougeL.Compute, Cider.Compute, Meteor.Compute })
            Assert.Equal(score(forward), score(backward), 9);
    });

    // Two to four sets of four texts of four to nine words.
    private static Arbitrary<string[][][]> Texts()
    {
        Gen<string[]> text = Gen.Elements("a", "pub", "near", "the", "river", "serves", "cheap", "food", ".").ArrayOf(4).SelectMany(
            first => Gen.Elements("eagle", "rated", "low", "high", "5").ArrayOf().Select(rest => first.Concat(rest.Take(5)).ToArray()));
        return Gen.Choose(2, 4).SelectMany(n => text.ArrayOf(4).ArrayOf(n)).ToArbitrary();
    }

    private static TextSegment Segment(string candidate, params string[] references) =>
        new(MtevalTokenizer.Tokenize(candidate), [.. references.Select(MtevalTokenizer.Tokenize)]);
}
